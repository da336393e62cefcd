"""A listing showed that the destination has no object: when this saves the look before a write, and why it is safe."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.engine.copy.test_copier import PART, Bench
from tests.engine.copy.test_decisions import ROUTE, claim, placement, transfer

from skyferry.engine.copy import decisions
from skyferry.model import ObjectMeta
from skyferry.ports import Done, Skipped
from skyferry.stores.memory import MemoryStore


@pytest.fixture
def bench() -> Bench:
    return Bench()


class Unconditional(MemoryStore):
    """A store whose writes have no preconditions; counts looks."""

    traits = replace(MemoryStore.traits, create_only=False, replace_exact=False, delete_exact=False)
    looks = 0

    async def head(self, key: str) -> ObjectMeta:
        self.looks += 1
        return await super().head(key)


async def test_a_key_that_the_listing_lacked_is_written_without_a_look(bench: Bench) -> None:
    bench.destination = bench.stores["d"] = Unconditional("d", bench.clock)
    await bench.put(b"data")
    assert isinstance(await bench.run(absent=True), Done)
    assert (bench.destination.looks, await bench.held()) == (0, b"data")
    assert isinstance(await bench.run(absent=False), Skipped)
    assert bench.destination.looks == 1


async def test_a_stale_absence_brings_nothing_back(bench: Bench) -> None:
    """Another worker copies after the listing. The source is looked at later still, so that the newest version is written."""
    bench.destination = bench.stores["d"] = Unconditional("d", bench.clock)
    await bench.put(b"old")
    await bench.put(b"new")
    assert isinstance(await bench.run(), Done)  # the other worker
    assert isinstance(await bench.run(absent=True), Done)
    assert await bench.held() == b"new"
    await bench.put(b"newest")
    assert isinstance(await bench.run(absent=True), Done)
    assert await bench.held() == b"newest"


@pytest.mark.parametrize("size", [PART + 1, 5 * PART])
async def test_a_large_object_is_looked_for_although_the_listing_lacked_it(bench: Bench, size: int) -> None:
    """Its write ends long after the look at its source."""
    bench.destination = bench.stores["d"] = Unconditional("d", bench.clock)
    await bench.put(b"x" * size)
    await bench.run(absent=True)
    assert bench.destination.looks >= 1


def test_an_absence_counts_only_for_the_first_attempt_at_a_key_that_the_ledger_does_not_know() -> None:
    absent = replace(transfer(), absent=True)
    first = claim(None, absent)
    assert decisions.is_known_absent(first, ROUTE)
    assert not decisions.is_known_absent(claim(None), ROUTE), "no listing"
    assert not decisions.is_known_absent(claim(placement(), absent), ROUTE), "it was copied since"
    assert not decisions.is_known_absent(claim(placement(deleted=True), absent), ROUTE), "it was deleted since"
    assert not decisions.is_known_absent(replace(first, attempt=2), ROUTE), "the first attempt may have written it"
    assert not decisions.is_known_absent(replace(first, lost=1), ROUTE), "so may a worker that died"
    assert not decisions.is_known_absent(claim(None, replace(absent, asked=True)), ROUTE), "a person asks for a look"
    assert not decisions.is_known_absent(first, replace(ROUTE, ring=True)), "the later write wins"
