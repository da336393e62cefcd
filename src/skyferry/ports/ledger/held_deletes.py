"""Deletes that wait for a person's decision, and the identity of each source when its objects were last seen."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import Literal, Protocol

from skyferry.frozen import dataclass
from skyferry.model import ObjectRef
from skyferry.ports.ledger.listing import Page

Why = Literal["limit", "empty", "replaced"]
Decision = Literal["held", "approved", "rejected"]


@dataclass(frozen=True, slots=True)
class HeldDelete:
    """An object missing from its source, whose copies stay until a person decides."""

    source: ObjectRef  # without a version
    store: str  # the source's name
    routes: tuple[str, ...]  # whose destinations have a copy
    reason: Why  # more than a limit, all of a source, or a source with another identity
    at: float  # seconds since 1970: when it was first missed
    state: Decision = "held"
    decided_at: float | None = None

    @property
    def id(self) -> str:
        """The id of the object: 16 hexadecimal digits, derived from provider, bucket and key."""
        return held_id(self.source)


def held_id(source: ObjectRef) -> str:
    """Return the id of a held delete; see `HeldDelete.id`."""
    text = "\0".join((source.provider, source.bucket, source.key))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def sum_by_store(counts: Sequence[tuple[str, str, int]]) -> dict[str, int]:
    """Add up the result of `HeldDeletes.count_held_deletes` by source."""
    total: dict[str, int] = {}
    for store, _, count in counts:
        total[store] = total.get(store, 0) + count
    return total


@dataclass(frozen=True, slots=True)
class HeldFilter:
    """Conditions on held deletes; all that are given must match."""

    state: Decision | None = "held"
    store: str = ""  # the source's name
    route: str = ""
    reason: str = ""
    prefix: str = ""  # of the source key
    at: float | None = None  # first missed at exactly that time


class HeldDeletes(Protocol):
    """The record of absences and of the decisions on them."""

    async def hold_deletes(self, deletes: Sequence[HeldDelete]) -> int:
        """Record deletes that wait. Known ones stay as they are, in any state. Return the number of new ones."""

    async def list_held_deletes(self, where: HeldFilter, cursor: str = "", limit: int = 100) -> Page[HeldDelete]:
        """Return a page, the latest held first."""

    async def count_held_deletes(self) -> list[tuple[str, str, int]]:
        """Return (store, reason, count) of those that wait, ordered by store and reason."""

    async def find_held_deletes(self, ids: Sequence[str]) -> set[str]:
        """Return those of these ids that are known, in any state."""

    async def approve_deletes(self, where: HeldFilter, ids: Collection[str] | None = None) -> int:
        """Approve held or rejected deletes; `ids` narrows the filter. Return the count.

        If the reason is `replaced`, the identity of the source is forgotten, and the next one found is accepted.
        """

    async def reject_deletes(self, where: HeldFilter, ids: Collection[str] | None = None) -> int:
        """Keep the copies of held deletes until the source has the object again. Otherwise as `approve_deletes`."""

    async def list_approved_deletes(self, limit: int) -> list[HeldDelete]:
        """Return approved deletes that are not forgotten, the earliest first."""

    async def forget_deletes(self, ids: Sequence[str]) -> int:
        """Forget deletes that were sent, or whose object is back. Return how many were known."""


class SourceIdentities(Protocol):
    """The identity of each source, to notice that a bucket or folder was replaced by another of the same name."""

    async def get_identity(self, source: str) -> str:
        """Return the last identity set for this source; "" = none, or a person has decided since."""

    async def set_identity(self, source: str, identity: str) -> None:
        """Record the identity of a source."""
