"""A guard against listings without an end."""

from __future__ import annotations

from skyferry.errors import StoreError

# Empty pages in succession. Azure returns one for each 5,000 entries without a blob, such as those kept after a delete.
EMPTY_MAX = 100_000


class PageGuard:
    """Watches the pages of one listing. A service that repeats a page would be asked for it forever."""

    def __init__(self, store: str) -> None:
        self._store, self._token, self._first = store, "", ""
        self._empty = 0  # pages in succession
        self._pages, self._kept = 0, 1  # of the pages, that with this number is compared with all after it

    def turn(self, token: str, first: str) -> str:
        """Return `token`, which requests the next page; `first` names the first item of this page. Raise StoreError."""
        hint = "check whether a proxy or the service itself loses the continuation token"
        if token and (token == self._token or (first and first == self._first)):
            raise StoreError("the listing repeats a page", where=self._store, hint=hint)
        self._empty = 0 if first else self._empty + 1
        if token and self._empty >= EMPTY_MAX:
            raise StoreError(f"the listing has {self._empty} empty pages in succession", where=self._store, hint=hint)
        self._pages += 1
        if self._pages == self._kept:  # then the next power of two: this finds a cycle of any length (R. Brent, 1980)
            self._token, self._first, self._kept = token, first, 2 * self._kept
        return token


def outside(key: str, prefix: str, store: str) -> StoreError:
    """Return the error for a key that was not asked for. What follows the prefix in it would be another key."""
    hint = "check whether a proxy or the service itself ignores the prefix"
    return StoreError(f"the listing has {key!r}, which does not begin with {prefix!r}", where=store, hint=hint)
