"""`skyferry run`."""

from __future__ import annotations


def run() -> None:
    """Run the service."""
