"""The objects of a destination that its source lacks."""

from __future__ import annotations

from collections.abc import AsyncIterator

from skyferry.discovery.absences.extraneous import MirrorEnds, find_extraneous, open_spool
from skyferry.model import ObjectMeta
from skyferry.stores.memory import MemoryStore
from skyferry.testing.clock import ManualClock


class Listed(MemoryStore):
    """A store with a fixed listing."""

    keys: tuple[str, ...] = ()

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        for key in self.keys:
            yield ObjectMeta(key, 1, "1", 0.0)


async def test_a_key_that_is_no_unicode_stays() -> None:
    """No request can name it, and its neighbours are found."""
    clock = ManualClock()
    source, destination = Listed("source", clock), Listed("destination", clock)
    source.keys, destination.keys = ("a",), ("a", "b", "\udcff", "\udfff/c")
    with open_spool() as spool:
        found = await find_extraneous(MirrorEnds(source, destination, "", "", lambda key: True), spool)
        assert (found.count, found.bytes, list(found)) == (1, 1, [("b", 1)])
