"""Stock of every marketplace equal to what ERPNext can really sell."""

__version__ = "0.1.0"
