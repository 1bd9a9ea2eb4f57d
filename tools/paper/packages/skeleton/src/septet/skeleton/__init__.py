"""TODO: what the package is, in one line, and its modules."""

__version__ = "0.1.0"
