"""TODO: what the package is, in one line, and its modules."""
