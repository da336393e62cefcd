"""Events that no route takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from skyferry.frozen import dataclass
from skyferry.model import Change, ObjectRef


@dataclass(frozen=True, slots=True)
class Refusal:
    """The newest event of a source key that no route took, and the rules that refused it."""

    source: ObjectRef
    change: Change
    event_id: str
    occurred_at: float  # seconds since 1970
    at: float  # when it was refused
    rules: tuple[tuple[str, str], ...]  # route ("" = of no single one) and rule, such as "filter.prefix: photos/"


class RefusalLog(Protocol):
    """The record of refused events, one per source key."""

    async def add_refusals(self, refusals: Sequence[Refusal]) -> None:
        """Record refused events; each replaces the earlier one of its source key. MAY be lost in a power failure."""

    async def list_refusals(self, key: str) -> list[Refusal]:
        """Return the refusals of this source key in all buckets, the latest first."""
