"""Placements: the object at each destination key, as the ledger remembers it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from skyferry.model import ObjectMeta, ObjectRef, Placement


class Placements(Protocol):
    """Queries of placements. `Claims.settle` writes them."""

    async def get_placements(self, store: str, keys: Sequence[str]) -> list[Placement | None]:
        """Return the placement of each key, in order; None where there is none."""

    async def find_current(self, store: str, source: ObjectRef, listed: Sequence[tuple[ObjectMeta, str]]) -> set[str]:
        """Return the destination keys whose copy is current, of listed objects of the bucket of `source` with these keys.

        The result is that of `joins.select_current`, at less than the cost of the placements.
        """

    def list_placements(self, store: str, source: str, after: str = "") -> AsyncIterator[Placement]:
        """Iterate over live placements (no tombstones) in `store` copied from bucket `source`, by key, from behind `after`.

        Memory is bounded by a page.
        """
