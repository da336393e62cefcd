"""What the adapters of the clouds have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from skyferry.errors import InvalidKey, ObjectNotFound, PreconditionFailed, StoreError
from skyferry.ports import Precondition

# Bytes of UTF-8, at S3 and Cloud Storage. Azure counts characters; Skyferry's keys are no longer anywhere.
KEY_MAX = 1024


class Pages:
    """Watches the pages of one listing: a service that gives the same one again would be asked without an end."""

    def __init__(self, store: str) -> None:
        self._store, self._token, self._first = store, "", ""

    def turn(self, token: str, first: str) -> str:
        """`token`, which asks for the next page; `first` names what this page begins with. Raises StoreError."""
        if token and (token == self._token or (first and first == self._first)):
            hint = "see whether a proxy or the service itself forgets where the listing goes on"
            raise StoreError("the listing gives the same page again", where=self._store, hint=hint)
        self._token, self._first = token, first
        return token


def check_key(key: str, store: str) -> None:
    """Raises InvalidKey for one that no cloud keeps; each has its own rules besides."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError as broken:
        raise InvalidKey("the key is no Unicode", where=store) from broken
    if not 0 < size <= KEY_MAX:
        raise InvalidKey(f"a key has 1 to {KEY_MAX} bytes, this one {size}", where=f"{store} {key}")


@contextmanager
def replacing(when: Precondition) -> Iterator[None]:
    """To replace or delete a version of what is not there is a precondition that does not hold."""
    try:
        yield
    except ObjectNotFound as absent:
        if when.replace:
            raise PreconditionFailed(absent.message, where=absent.where) from absent
        raise
