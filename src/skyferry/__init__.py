"""Skyferry copies each object to another cloud the moment it lands."""

__version__ = "0.1.0"
COLLECT_AFTER = (
    100_000  # new objects between garbage collections of a command; at Python's 700, its imports take a twelfth longer
)
