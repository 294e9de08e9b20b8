"""The rows that need an ERPNext site: MariaDB, Redis and a real worker."""
