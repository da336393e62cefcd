"""The queue in a SQLite file."""

from skyferry.queues.sqlite.queue import SqliteQueue

__all__ = ["SqliteQueue"]
