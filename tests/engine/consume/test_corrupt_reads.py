"""Bytes that are corrupted on their way once in a while are no fault of the object; an object that is always corrupt ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.engine.lab import Lab

from skyferry.errors import ChecksumMismatch, ConnectionLost
from skyferry.ports import Filter, ObjectData
from skyferry.ports.decorators import HEAD, READ, WRITE, Operation, StoreDecorator

OUTAGE = 900.0  # seconds
RETRIES = 3


class Corrupting(StoreDecorator):
    """A source whose reads are corrupt if `corrupts` says so of their number."""

    def __init__(self, inner: Any, corrupts: Callable[[int], bool]) -> None:
        super().__init__(inner)
        self.corrupts, self.reads, self.corrupted = corrupts, 0, 0

    async def _request(self, operation: Operation, key: str, size: int, call: Callable[..., Any], *args: Any) -> Any:
        answer = await call(*args)
        if operation is READ and isinstance(answer, ObjectData):
            self.reads += 1
            if self.corrupts(self.reads):
                self.corrupted += 1
                return replace(answer, data=b"?" * len(answer.data))
        return answer


class Failing(StoreDecorator):
    """A destination that is down while `down` says so of the number of the write, or that stores something else."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.down: Callable[[int], bool] = lambda number: False
        self.wrong, self.writes = False, 0

    async def _request(self, operation: Operation, key: str, size: int, call: Callable[..., Any], *args: Any) -> Any:
        self.writes += operation is WRITE
        if operation in (HEAD, WRITE) and self.down(self.writes):
            raise ConnectionLost("simulated")
        if operation is WRITE and self.wrong:
            raise ChecksumMismatch("simulated")
        return await call(*args)


class Broken(Lab):
    """A world with such stores, and one object."""

    def __init__(self, corrupts: Callable[[int], bool]) -> None:
        super().__init__()
        self.destination = Failing(self.destination)
        self.reading = Corrupting(self.source, corrupts)

    async def announce(self) -> None:
        await self.put("k")
        source: Any = self.reading
        self.source = source
        await self.send("k")

    async def reasons(self) -> list[str]:
        """Return the reasons of the dead letters."""
        return [letter.reason for letter in (await self.ledger().list_dead_letters(Filter())).items]


async def test_corrupt_reads_of_a_long_outage_do_not_add_up() -> None:
    """Between them the object was read as it is declared: it is sound."""
    lab = Broken(lambda read: read % 2 == 1)
    lab.destination.down = lambda write: True
    await lab.announce()
    async with lab.running(lab.worker()):
        await lab.until(lambda: lab.reading.corrupted > 2 * RETRIES, step=1)
        assert await lab.reasons() == []
        lab.destination.down = lambda write: False
        await lab.until(lambda: "k" in lab.bucket.objects, step=1)


@pytest.mark.parametrize("sound", [0, 2], ids=["from the start", "after an outage"])
async def test_object_that_is_always_corrupt_becomes_a_dead_letter(sound: int) -> None:
    """Though it was sound once, and though its destination was down meanwhile."""
    lab = Broken(lambda read: read > sound)
    lab.destination.down = lambda write: True
    await lab.announce()
    async with lab.running(lab.worker()):
        await lab.until(lambda: lab.count("transfer.dead") == 1, step=1)
    assert await lab.reasons() == ["checksum_mismatch"]
    assert lab.reading.corrupted == 1 + RETRIES + (sound > 0)


async def test_destination_that_stores_something_else_is_no_corrupt_read() -> None:
    """The object was read well each time, and that says nothing about what the destination stores."""
    lab = Broken(lambda read: False)
    lab.destination.wrong, lab.destination.down = True, lambda write: write % 2 == 1
    await lab.announce()
    async with lab.running(lab.worker()):
        await lab.until(lambda: lab.count("transfer.dead") == 1, step=1)
    assert await lab.reasons() == ["checksum_mismatch"]
    assert lab.destination.writes <= 2 * (1 + RETRIES)
