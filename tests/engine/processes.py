"""Processes that may be killed at any step of a large copy, and the world that outlives them."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from skyferry.engine.abandoned_uploads import abort_abandoned_uploads
from skyferry.engine.concurrency.transfer_slots import PrioritySemaphore, TransferSlot
from skyferry.engine.consume.attempt import OpenUploads
from skyferry.engine.copy.copier import Attempt, Copier
from skyferry.engine.copy.digests import InlineOffload
from skyferry.engine.copy.strategy import PartLimits
from skyferry.engine.resilience.memory_budget import MemoryBudget
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.ledgers.memory.state import MemoryState
from skyferry.model import Attributes, Change, Checksums, Claim, ObjectMeta, ObjectRef, Provider, Transfer
from skyferry.ports import Part, Settlement, Upload
from skyferry.routing.routes import Route
from skyferry.stores.memory import MemoryBucket, MemoryProvider, MemoryStore
from skyferry.testing.clock import ManualClock

PART, AT_ONCE = 1000, 2
ONE, TWO = (random.Random(seed).randbytes(6 * PART + 7) for seed in (1, 2))
ROUTE = Route(name="r", source_store="s", store="d", deletes="propagate")
TRANSFER = Transfer("t", "r", Change.CREATED, ObjectRef(Provider.MEMORY, "s", "k"), "s", "d", "k", "e", "c", 1.0)
CARRIED = Attributes("text/plain", metadata={"a": "b"}, tags={"t": "v"})


class Killed(BaseException):
    """As by `kill -9`: nothing that this process asks for has an effect any more."""


class Fate:
    """Counts steps, and ends the process at one."""

    def __init__(self, last: int | None = None) -> None:
        self.steps, self._last = 0, last

    def step(self) -> None:
        self.steps += 1
        if self._last is not None and self.steps >= self._last:
            raise Killed


class Mortal:
    """A port of a process: before and after each effect it may be over."""

    def __init__(self, port: Any, fate: Fate) -> None:
        self.port, self._fate = port, fate

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self.port, name)
        if not callable(inner) or name in ("uploads", "list_uploads"):
            return inner

        async def call(*args: Any, **kwargs: Any) -> Any:
            self._fate.step()
            answer = await inner(*args, **kwargs)
            self._fate.step()
            return answer

        return call


class Counting(MemoryStore):
    """Knows how much was sent to it."""

    sent = 0

    async def write_part(self, upload: Upload, number: int, data: bytes, crc32c: str) -> Part:
        self.sent += len(data)
        return await super().write_part(upload, number, data, crc32c)


class Terse(Counting):
    """Tells of a part that it is there, and nothing else; with `ordered` it takes parts in their order only."""

    def __init__(self, *args: Any, ordered: bool = False) -> None:
        super().__init__(*args)
        self.traits = replace(self.traits, parallel_parts=not ordered)

    async def uploaded_parts(self, upload: Upload) -> list[Part]:
        return [replace(part, crc32c="", tag="") for part in await super().uploaded_parts(upload)]


class World:
    """The state that outlives a process."""

    def __init__(self, *, provider: bool = False) -> None:
        self.clock, self.state = ManualClock(), MemoryState()
        one = MemoryProvider() if provider else None
        self.source = MemoryStore("s", self.clock, MemoryBucket("s"), one)
        self.destination = Counting("d", self.clock, MemoryBucket("d"), one)
        self.born = 0

    async def put(self, data: bytes) -> ObjectMeta:
        return await self.source.write("k", data, CARRIED, Checksums())

    def ledger(self) -> MemoryLedger:
        self.born += 1
        return MemoryLedger(f"worker-{self.born}", self.clock, state=self.state)

    async def work(self, fate: Fate | None = None, source: Any = None, part: int = PART, **changes: Any) -> Any:
        """A process that claims, copies and settles."""
        fate, ledger = fate or Fate(), self.ledger()
        (claim,) = await ledger.claim([replace(TRANSFER, **changes)])
        if not isinstance(claim, Claim):
            return claim
        mortal = Mortal(ledger, fate)

        async def save(what: Any) -> bool:
            (held,) = await mortal.save_progress([what])
            return bool(held)

        uploads = OpenUploads()
        uploads.merge(claim.uploads)
        stores = {"s": Mortal(source or self.source, fate), "d": Mortal(self.destination, fate)}
        limits = PartLimits(part, AT_ONCE, 100, copied=part)
        copier = Copier(stores, MemoryBudget(4 * PART), InlineOffload(), self.clock, limits)
        with await TransferSlot.take(PrioritySemaphore(1), PrioritySemaphore(1), 0.0) as slot:
            outcome = await copier.run(Attempt(claim, slot, uploads, save), ROUTE)
        await copier.abort_uploads(claim.transfer, uploads)
        assert await mortal.settle([Settlement(claim, outcome, closed=tuple(uploads.closed))]) == [True]
        return outcome

    async def die(self, at: int, **options: Any) -> bool:
        """A process that is killed at this step; False if it came to its end before."""
        try:
            await self.work(Fate(at), **options)
        except (Killed, BaseExceptionGroup):
            await self.clock.advance(31)  # its lease ends
            return True
        return False

    async def held(self) -> bytes:
        return (await self.destination.read("k", 0, 2**20)).data

    async def clean(self) -> bool:
        """Return True if nothing is left, once unrecorded uploads are collected."""
        await abort_abandoned_uploads(self.ledger(), {"d": self.destination}, 0.0, self.clock)
        return not self.destination.bucket.uploads and [p async for p in self.ledger().list_uploads()] == []
