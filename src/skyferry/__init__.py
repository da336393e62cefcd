"""Skyferry copies each object to another cloud the moment it lands."""

__version__ = "0.1.0"
