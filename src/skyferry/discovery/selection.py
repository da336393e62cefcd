"""The objects that a copy takes from a listing, and when an object at the destination counts as a copy. Pure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Literal

from skyferry.frozen import dataclass
from skyferry.model import ObjectMeta

# ledger: the copy that the ledger remembers, with its size. existing: any object. newer: the remembered copy, or one modified
# after the source. size: an object of equal size. checksum: an object of equal content.
Comparison = Literal["ledger", "existing", "newer", "size", "checksum"]
Verdict = Literal["copy", "present", "kept", "read"]  # kept: not the source's copy; read: the contents must be compared


@dataclass(frozen=True, slots=True)
class Wildcard:
    """A prefix and a test of the rest of each key."""

    text: str  # as it was written, for errors
    prefix: str
    takes: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class CopySelection:
    """The objects of a copy. Keys are relative to the prefix of the source."""

    takes: Callable[[str], bool] = lambda key: True
    wildcard: Wildcard | None = None  # in place of the prefix, unless there is an object with this very key
    keys: Callable[[], AsyncIterator[list[str]]] | None = None  # pages of keys, in place of a listing
    comparison: Comparison = "ledger"
    prefix_only: bool = False  # a single object is refused
    folder_names: Sequence[
        str
    ] = ()  # exclusions that name a folder, but exclude nothing in it; grows during the listing


def compare(comparison: Comparison, source: ObjectMeta, there: ObjectMeta | None, known: bool) -> Verdict:
    """Decide about a listed object. `there` is the object at its destination; `known`: the ledger has a copy of this version."""
    if there is None:
        return "copy"
    if comparison == "existing":
        return "kept"
    if comparison == "newer" and there.modified > source.modified:
        return "kept"
    same = there.size == source.size
    if comparison == "checksum" and same:
        return "read"
    return "present" if same and (known or comparison == "size") else "copy"
