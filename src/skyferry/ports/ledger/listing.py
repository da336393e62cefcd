"""Filters and pages of the ledger's listings."""

from __future__ import annotations

from typing import Generic, TypeVar

from skyferry.frozen import dataclass
from skyferry.model import State

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions on transfers or dead letters; all that are given must match."""

    state: State | None = None
    route: str = ""
    key_prefix: str = ""  # of the destination key
    source_key: str = ""  # exactly
    reason: str = ""
    since: float | None = None  # updated_at >=, in seconds since 1970
    until: float | None = None  # updated_at <
    idle: float = 0.0  # seconds, at least, since its last update and since it was due


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a listing; newest first, unless the listing has another order."""

    items: list[Item]
    cursor: str  # of the next page; "" = this is the last
