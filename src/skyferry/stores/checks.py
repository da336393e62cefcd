"""Checks that the adapters of all clouds share: the key, and a precondition on an absent object."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from skyferry.errors import InvalidKey, ObjectNotFound, PreconditionFailed, StoreError
from skyferry.ports import Precondition

if TYPE_CHECKING:  # it needs an extra, which stores on this machine do without
    from skyferry.clouds.http import HttpResponse

# Bytes of UTF-8, at S3 and Cloud Storage. Azure counts characters; Skyferry applies the same limit everywhere.
KEY_MAX = 1024
OTHER_SERVER = "check whether another server answers at this endpoint"


def check_key(key: str, store: str) -> None:
    """Raise InvalidKey for a key that no cloud accepts. Each adapter adds the rules of its cloud."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError as broken:
        raise InvalidKey("the key is no Unicode", where=store) from broken
    if not 0 < size <= KEY_MAX:
        raise InvalidKey(f"a key has 1 to {KEY_MAX} bytes, this one {size}", where=f"{store} {key}")


def check_deletion(answer: HttpResponse, store: str, header: str = "") -> None:
    """Raise StoreError if another server confirms a delete, such as a portal with a page to sign in.

    S3 and Cloud Storage confirm with 204 and nothing more, some servers with 200, and fake-gcs-server with the JSON of nothing;
    Azure with `header` in each answer.
    """
    if answer.status < 300 and (answer.body.strip() not in (b"", b"null") or (header and header not in answer.headers)):
        raise StoreError("the answer to the delete is not that of the service", where=store, hint=OTHER_SERVER)


@contextmanager
def translate_malformed(store: str) -> Iterator[None]:
    """Turn what a malformed answer raises where it is parsed into StoreError."""
    try:
        yield
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as broken:
        raise StoreError("the answer cannot be read", where=store, hint=OTHER_SERVER) from broken


@contextmanager
def translate_absence(when: Precondition) -> Iterator[None]:
    """Turn ObjectNotFound into PreconditionFailed where a version is to be replaced or deleted."""
    try:
        yield
    except ObjectNotFound as absent:
        if when.replace:
            raise PreconditionFailed(absent.message, where=absent.where) from absent
        raise


def suggest_handling(kind: str) -> str:
    """Return the hint for attributes that a store cannot carry: `kind` is a setting of `unfit`."""
    return (
        f"set `unfit.{kind}` of the route, or --unfit {kind}=…, to encode, map or drop it; or change it at the source"
    )
