"""What workers on any number of machines agree on through the database: who is at it, and how often it may be called."""
