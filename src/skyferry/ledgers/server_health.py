"""Report when a ledger at a server begins to fail, and when it works again."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Literal, TypeVar

from skyferry.errors import LedgerError

T = TypeVar("T")
Side = Literal[
    "read", "write"
]  # a server may answer queries and refuse changes: its disk is full, or it lacks replicas
OnHealth = Callable[[LedgerError | None], None]  # called with each failure, and with None once the ledger works again


class ServerHealth:
    """Passes each error of a request on, and None once requests of each side that failed succeed again."""

    def __init__(self, on_health: OnHealth, is_closed: Callable[[], bool]) -> None:
        """Errors are not reported once `is_closed` returns True."""
        self._on_health, self._is_closed = on_health, is_closed
        self._failing = set[Side]()  # sides whose last request failed
        self.lasting = False  # the failure concerns some requests only: the success of another one does not end it

    async def observe(self, request: Coroutine[Any, Any, T], side: Side) -> T:
        """Return the result of a request. Raises its LedgerError."""
        try:
            result = await request
        except LedgerError as error:
            if not self._is_closed():
                self._failing.add(side)
                self._on_health(error)
            raise
        if side in self._failing and not self.lasting:
            self._failing.remove(side)
            if not self._failing:
                self._on_health(None)
        return result
