"""Deletes that wait for a decision, and what each source was when its objects were last seen: a part of the ledger's port."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from skyferry.frozen import dataclass
from skyferry.model import ObjectRef

if TYPE_CHECKING:
    from skyferry.ports.ledger import Page

Why = Literal["limit", "empty", "replaced"]
Decision = Literal["held", "approved", "rejected"]


@dataclass(frozen=True, slots=True)
class HeldDelete:
    """An object that a look at its source did not find, and whose copies stay until a person decides."""

    source: ObjectRef  # without a version
    store: str  # the source's name
    routes: tuple[str, ...]  # whose destinations have a copy
    reason: Why  # more than a limit, all of a source, or a source that is not what it was
    at: float  # seconds since 1970: when it was missed first
    state: Decision = "held"
    decided_at: float | None = None

    @property
    def id(self) -> str:
        """The same object always has the same id: 16 hexadecimal digits, from provider, bucket and key."""
        return held_id(self.source)


def held_id(source: ObjectRef) -> str:
    """See `HeldDelete.id`."""
    text = "\0".join((source.provider, source.bucket, source.key))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def by_store(counts: Sequence[tuple[str, str, int]]) -> dict[str, int]:
    """Add up what `HeldDeletes.held_counts` answers, by source."""
    total: dict[str, int] = {}
    for store, _, count in counts:
        total[store] = total.get(store, 0) + count
    return total


@dataclass(frozen=True, slots=True)
class HeldFilter:
    """Which held deletes; everything given must match."""

    state: Decision | None = "held"
    store: str = ""  # the source's name
    route: str = ""
    reason: str = ""
    prefix: str = ""  # of the source key
    at: float | None = None  # missed first at exactly that time


class HeldDeletes(Protocol):
    """The ledger's memory of absences. Every method is one atomic step, durable on return."""

    async def identity(self, source: str) -> str:
        """What `identify` was given last for this source, as text; "" = nothing, or a person has decided since."""

    async def identify(self, source: str, identity: str) -> None:
        """Remember what a source is."""

    async def hold_deletes(self, deletes: Sequence[HeldDelete]) -> int:
        """Remember deletes that wait; those known already, in whatever state, stay as they are. How many were new."""

    async def held_deletes(self, where: HeldFilter, cursor: str = "", limit: int = 100) -> Page[HeldDelete]:
        """The latest held first. The cursor MUST go with the same filter."""

    async def held_counts(self) -> list[tuple[str, str, int]]:
        """Those that wait, grouped: (store, reason, count), by store and reason."""

    async def known_deletes(self, ids: Sequence[str]) -> set[str]:
        """Those of these ids that are remembered, in whatever state."""

    async def approve_deletes(self, where: HeldFilter, ids: Collection[str] | None = None) -> int:
        """Let held or rejected ones go on; `ids` narrows to these. How many.

        Where a source was not what it was, its identity is forgotten: what is there next is the source from then on.
        """

    async def reject_deletes(self, where: HeldFilter, ids: Collection[str] | None = None) -> int:
        """Keep the copies of held ones until the source has the object again. Otherwise as `approve_deletes`."""

    async def approved_deletes(self, limit: int) -> list[HeldDelete]:
        """Approved ones that nobody has forgotten yet, the earliest first."""

    async def forget_deletes(self, ids: Sequence[str]) -> int:
        """They are sent, or the object is back. How many were remembered."""
