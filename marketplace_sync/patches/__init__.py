"""What a new version has to change in the data of an older one."""
