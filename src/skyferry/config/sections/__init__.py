"""Sections of the configuration: declared as classes, read from plain data, and described as JSON Schema."""
