"""A guard against listings without an end."""

from __future__ import annotations

from skyferry.errors import StoreError


class PageGuard:
    """Watches the pages of one listing. A service that repeats a page would be asked for it forever."""

    def __init__(self, store: str) -> None:
        self._store, self._token, self._first = store, "", ""

    def turn(self, token: str, first: str) -> str:
        """Return `token`, which requests the next page; `first` names the first item of this page. Raise StoreError."""
        if token and (token == self._token or (first and first == self._first)):
            hint = "check whether a proxy or the service itself loses the continuation token"
            raise StoreError("the listing repeats a page", where=self._store, hint=hint)
        self._token, self._first = token, first
        return token
