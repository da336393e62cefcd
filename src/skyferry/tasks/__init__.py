"""Tasks of the event loop: groups of them, and deadlines of many with one timer."""
