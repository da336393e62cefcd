"""Reports the links, pipes, sockets and devices of local stores once, whether a listing or the watcher finds them."""

from __future__ import annotations

from skyferry.ports import Observer
from skyferry.records import Record
from skyferry.stores.local.blocking.files import special_kind

KNOWN = 100_000  # remembered paths; more are not reported


class SpecialReports:
    """Remembers reported paths. One for each process."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._known: set[tuple[str, str]] = set()

    def found(self, store: str, path: str, kind: str) -> None:
        """Report a path of a store, unless it was reported before."""
        if (store, path) in self._known or len(self._known) >= KNOWN:
            return
        self._known.add((store, path))
        message = f"it is a {kind}, not an object"
        self._observer.on(Record("store.special_file", store=store, key=path, reason=kind, message=message))

    def seen(self, store: str, path: str, mode: int) -> None:
        """Report a path that the watcher found."""
        self.found(store, path, special_kind(mode))
