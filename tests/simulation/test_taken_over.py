"""A worker aborts a change at the end of its lease, and the store had received it whole: it takes effect later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.engine.consume.test_late_changes import PROPAGATE
from tests.engine.lab import Lab
from tests.simulation.engines import PostgresWorlds, RedisWorlds, SqliteWorlds
from tests.simulation.test_cut_off import CUT, LEASE, LOOKS, Cut

from skyferry.engine.resilience.circuit_breaker import LANDING
from skyferry.errors import LedgerError
from skyferry.model import Change, Claim, Transfer
from skyferry.ports import Clock
from skyferry.ports.decorators import Operation, StoreDecorator
from skyferry.stores.memory import MemoryBucket, MemoryStore
from skyferry.testing.ledger.harness import transfer
from skyferry.testing.servers import PostgresServer, RedisServer
from skyferry.testing.simulation.ledgers import LedgerEngine, MemoryEngine
from skyferry.testing.simulation.loop import PROCESS, Deadlock, SimulatedClock, SimulatedLoop

LATE = 15.0  # seconds after which an aborted change takes effect


class Landing(StoreDecorator):
    """A destination that does not answer the first change of the first worker from `silent_from` on, and carries it out later."""

    def __init__(self, inner: MemoryStore, clock: Clock) -> None:
        super().__init__(inner)
        self._clock, self.silent_from = clock, 0.0
        self.silenced = self.landed = 0

    async def _request(self, operation: Operation, key: str, size: int, call: Callable[..., Any], *args: Any) -> Any:
        changes = operation.name not in LOOKS and PROCESS.get() == "first"
        if not changes or self.silenced or self._clock.monotonic() < self.silent_from:
            return await call(*args)
        self.silenced += 1
        try:
            await self._clock.sleep(10 * LEASE)
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_later(LATE, self._land, call, *args, context=Context())
            raise

    def _land(self, call: Callable[..., Any], *args: Any) -> None:
        self.landed += 1
        task = asyncio.get_running_loop().create_task(call(*args))
        task.add_done_callback(lambda done: done.exception())


class Unanswering:
    """A ledger that takes one key over without an answer: the connection ends after the commit."""

    def __init__(self, inner: Any) -> None:
        self._inner, self.unanswered = inner, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def claim(self, transfers: Sequence[Transfer]) -> Any:
        answers = await self._inner.claim(transfers)
        if any(isinstance(answer, Claim) and answer.taken_over for answer in answers):
            self.unanswered += 1
            raise LedgerError("simulated")
        return answers


class World:
    """Two workers, of which the first has a change under way at the end of its lease, and the second takes its key over."""

    def __init__(self, loop: SimulatedLoop, engine: Callable[[Clock], LedgerEngine] = MemoryEngine) -> None:
        self.loop, self.lab = loop, Lab(settings=PROPAGATE)
        clock: Any = SimulatedClock(loop)
        self.clock = self.lab.clock = clock
        self.engine = engine(clock)
        self.lab.source = MemoryStore("source", clock, MemoryBucket("source"))
        self.inner = MemoryStore("destination", clock, MemoryBucket("destination"))
        self.destination = self.lab.destination = Landing(self.inner, clock)
        self.tasks = list[asyncio.Task[None]]()

    def close(self) -> None:
        """End the workers, also the one that has died."""
        self.loop.crashed.clear()
        for task in self.tasks:
            task.cancel()
        with suppress(Deadlock):  # a step that a crashed process was about to make is lost
            self.loop.run_until_complete(asyncio.gather(*self.tasks, return_exceptions=True))
        asyncio.set_event_loop(None)
        self.loop.close()

    def set_preconditions(self, *, exact: bool) -> None:
        """Let the destination support all preconditions, or none."""
        traits = self.inner.traits
        self.destination.traits = replace(traits, create_only=exact, replace_exact=exact, delete_exact=exact)

    async def change(self, data: bytes | None) -> None:
        """Write or delete the source object, and announce it."""
        if data is None:
            await self.lab.source.delete("k")
        else:
            await self.lab.put("k", data)
        await self.lab.send("k", change=Change.CREATED if data is not None else Change.DELETED)

    async def cut_off_first(self, *changes: bytes | None) -> None:
        """Cut the first worker off from its ledger during the last one of these changes. It aborts it in time, and dies."""
        await self._begin_first(Cut(self.engine.open("first"), self.clock), changes)
        await self.clock.sleep(LEASE - self.clock.monotonic() - 1)
        self.loop.crashed.add("first")  # it undoes nothing

    async def stop_first(self, *changes: bytes | None) -> None:
        """Stop the first worker during the last one of these changes. It aborts it when it continues, long after its lease."""
        await self._begin_first(self.engine.open("first"), changes)
        self.loop.freeze("first", 3 * LEASE)

    async def _begin_first(self, ledger: Any, changes: Sequence[bytes | None]) -> None:
        self.destination.silent_from = CUT - 0.5
        self.tasks.append(self.loop.spawn("first", self.lab.worker(ledger).run(), "first"))
        for data in changes[:-1]:
            await self.change(data)
        await self.clock.sleep(CUT - 0.4)
        await self.change(changes[-1])
        await self.clock.sleep(0.2)

    async def finish(
        self, data: bytes | None, seconds: float = LEASE + 2 * LANDING, ledger: Any = None
    ) -> bytes | None:
        """Let a second worker work on a change, and return what the copy contains after some seconds."""
        await self.change(data)
        ledger = ledger or self.engine.open("second")
        self.tasks.append(self.loop.spawn("second", self.lab.worker(ledger).run(), "second"))
        await self.clock.sleep(seconds)
        assert self.destination.landed == 1
        held = self.inner.bucket.objects.get("k")
        return held[1] if held else None


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A world on virtual time. Its ledger is in memory, or that of a fixture."""
    engine = request.getfixturevalue(request.param) if hasattr(request, "param") else MemoryEngine
    loop = SimulatedLoop(Random(1))
    asyncio.set_event_loop(loop)
    world = World(loop, engine)
    yield world
    world.close()


@pytest.fixture
def sqlite_worlds(tmp_path: Path) -> Iterator[SqliteWorlds]:
    worlds = SqliteWorlds(tmp_path / "ledger.db")
    yield worlds
    worlds.close()


@pytest.fixture
def postgres_worlds(postgres_server: PostgresServer) -> Iterator[PostgresWorlds]:
    worlds = PostgresWorlds(postgres_server)
    yield worlds
    worlds.close()


@pytest.fixture
def redis_worlds(redis_server: RedisServer) -> Iterator[RedisWorlds]:
    worlds = RedisWorlds(redis_server)
    yield worlds
    worlds.close()


@pytest.mark.parametrize("exact", [True, False], ids=["preconditions", "none"])
def test_a_delete_of_a_key_taken_over_waits_for_an_aborted_write(world: World, exact: bool) -> None:
    """No precondition helps: there is no object, before the write and after the delete."""
    world.set_preconditions(exact=exact)

    async def scene() -> None:
        await world.cut_off_first(b"1")
        assert await world.finish(None) is None

    world.loop.run_until_complete(scene())


@pytest.mark.parametrize("exact", [True, False], ids=["preconditions", "none"])
@pytest.mark.parametrize("aborted", [b"2", None], ids=["write", "delete"])
def test_a_copy_to_a_key_taken_over_survives_an_aborted_change(
    world: World, exact: bool, aborted: bytes | None
) -> None:
    """It waits where the store has no precondition, and elsewhere the change is refused."""
    world.set_preconditions(exact=exact)

    async def scene() -> None:
        await world.cut_off_first(b"1", aborted)
        assert await world.finish(b"3") == b"3"

    world.loop.run_until_complete(scene())


@pytest.mark.parametrize("exact", [True, False], ids=["preconditions", "none"])
@pytest.mark.parametrize("aborted", [b"2", None], ids=["write", "delete"])
def test_a_worker_that_stood_still_mends_what_its_late_change_did(
    world: World, exact: bool, aborted: bytes | None
) -> None:
    """Without a precondition it replaced or removed the newer copy: that is made again."""
    world.set_preconditions(exact=exact)

    async def scene() -> None:
        await world.stop_first(b"1", aborted)
        assert await world.finish(b"3", 5 * LEASE) == b"3"

    world.loop.run_until_complete(scene())


def test_a_worker_that_stood_still_removes_what_its_late_write_brought_back(world: World) -> None:
    """No precondition stops that write: an absent object has no version."""

    async def scene() -> None:
        await world.stop_first(b"1")
        assert await world.finish(None, 5 * LEASE) is None

    world.loop.run_until_complete(scene())


@pytest.mark.parametrize("world", ["sqlite_worlds", "postgres_worlds", "redis_worlds"], indirect=True)
def test_a_key_taken_over_by_a_claim_without_an_answer_waits_as_well(world: World) -> None:
    """The next claim finds this worker to be the owner already, and does not say that the key was taken over."""

    async def scene() -> None:
        await world.cut_off_first(b"1")
        ledger = Unanswering(world.engine.open("second"))
        assert await world.finish(None, 2 * LEASE + 2 * LANDING, ledger) is None
        assert ledger.unanswered == 1

    world.loop.run_until_complete(scene())


def test_a_key_taken_over_is_free_again_soon(world: World) -> None:
    """Its new owner frees it when no change can take effect any more, so that the next one takes nothing over."""

    async def scene() -> None:
        await world.cut_off_first(b"1")
        await world.finish(b"2")
        (answer,) = await world.engine.open("third").claim([replace(transfer("t", "k"), store="destination")])
        assert isinstance(answer, Claim)
        assert not answer.taken_over

    world.loop.run_until_complete(scene())
