"""Every ledger brings a transfer to an end whose message is lost, and the lag to zero."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.engine.dead_letters.test_lost_messages import Scene
from tests.ledgers.memory.test_ledger import MemoryHarness
from tests.ledgers.postgres.places import PostgresHarness
from tests.ledgers.redis.places import RedisHarness
from tests.ledgers.sqlite.test_ledger import SqliteHarness

from skyferry.clock import SystemClock
from skyferry.engine.dead_letters.lost_messages import LOST, PAUSE
from skyferry.errors import MessageLost
from skyferry.events.native import encode_event
from skyferry.model import Position, State
from skyferry.ports import Filter, Outgoing, Released, Settlement
from skyferry.queues.memory import MemoryQueue
from skyferry.stores.memory import MemoryStore
from skyferry.testing.ledger import LedgerHarness
from skyferry.testing.servers import RedisServer


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture(params=["memory", "sqlite", "postgres", "redis"])
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LedgerHarness]:
    """Make a ledger whose time can pass."""
    made: Any
    if request.param == "memory":
        made = MemoryHarness()
    elif request.param == "sqlite":
        made = SqliteHarness(tmp_path / "ledger.db")
    elif request.param == "postgres":
        made = PostgresHarness(request.getfixturevalue("postgres_server"))
    else:
        made = RedisHarness(request.getfixturevalue("redis_server"))
    yield made
    if request.param != "memory":
        await made.close()


def use_real_time(scene: Scene) -> None:
    """Let all but the ledger have the clock of the system."""
    lab, scene.clock = scene.lab, SystemClock()
    scene.queue = MemoryQueue("events", scene.clock)
    lab.source = MemoryStore("source", scene.clock, lab.source.bucket)
    lab.destination = MemoryStore("destination", scene.clock, lab.bucket)


async def work_until_settled(scene: Scene) -> None:
    """Run a worker until the ledger knows of nothing that is behind."""
    worker = scene.worker()
    running = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(60):
            while await scene.ledger.find_oldest_unsettled():
                await asyncio.sleep(0.02)
    finally:
        worker.drain()
        await running


async def test_every_ledger_forgets_the_lag(scene: Scene, harness: LedgerHarness) -> None:
    """A transfer whose message is gone stays claimed for ever, unless it is processed again."""
    use_real_time(scene)
    await scene.lab.put("k")
    await scene.lab.put("j")
    lost = scene.transfers("k", "j", position=Position("gcs-generation", f"{7:020d}.{1:020d}"), format="gcs")
    await (await harness.open("gone")).claim(lost)
    scene.ledger = await harness.open("here")
    recovery = scene.recovery()
    assert await scene.look(recovery) == 0
    await harness.pass_time(LOST + 1)
    assert await scene.look(recovery) == 2
    await work_until_settled(scene)
    assert await scene.states(lost) == [(State.DONE, "")] * 2
    assert await scene.ledger.count_dead_letters() == []


async def save_keys(redis: Any, keys: Sequence[str]) -> dict[str, bytes]:
    """Return the value of each key, as the server stores it."""
    return {key: await redis.dump(key) for key in keys}


async def restore_keys(redis: Any, saved: dict[str, bytes], keys: Sequence[str]) -> None:
    """Let the server forget what was written since, to these keys and to others. `keys` are those that there are."""
    if added := set(keys).difference(saved):
        await redis.unlink(*added)
    for key, value in saved.items():
        await redis.restore(key, 0, value, replace=True)


async def test_a_redis_that_lost_its_last_second(scene: Scene, redis_server: RedisServer) -> None:
    """It shows a finished transfer as claimed, although its message was acknowledged. The copy is adopted."""
    use_real_time(scene)
    harness = RedisHarness(redis_server)
    try:
        scene.ledger = await harness.open("here")
        await scene.lab.put("k")
        (transfer,) = scene.transfers("k")
        (claim,) = await scene.ledger.claim([transfer])
        client, keys = harness.client(), await harness.keys()
        saved = await client.run(lambda redis: save_keys(redis, keys))
        await scene.ledger.settle([Settlement(claim, Released())])
        body = encode_event(replace(scene.lab.event("k"), event_id=transfer.event_id))
        await scene.queue.send([Outgoing(body)])
        await work_until_settled(scene)
        assert await scene.states([transfer]) == [(State.DONE, "")]
        version = (await scene.lab.destination.head("k")).version
        keys = await harness.keys()
        await client.run(lambda redis: restore_keys(redis, saved, keys))
        assert await scene.states([transfer]) == [(State.CLAIMED, "")]
        await harness.pass_time(LOST + 1)
        assert await scene.look() == 1
        await work_until_settled(scene)
        assert await scene.states([transfer]) == [(State.DONE, "")]
        assert (await scene.lab.destination.head("k")).version == version
        await client.close()
    finally:
        await harness.close()


async def test_a_redis_that_forgets_only_the_redrive(scene: Scene, redis_server: RedisServer) -> None:
    """The letter is redriven again in the next round, by the worker that keeps the role."""
    harness = RedisHarness(redis_server)
    try:
        scene.ledger = await harness.open("here")
        lost = scene.transfers("k")
        await (await harness.open("gone")).claim(lost)
        client = harness.client()
        redrive, redriven = scene.ledger.redrive, list[list[tuple[State, str]]]()

        async def forget_once(where: Filter, ids: Sequence[str] | None = None) -> int:
            if ids is None:  # of a round, not of a page
                return int(await redrive(where))
            scene.ledger.redrive = redrive
            keys = await harness.keys()
            saved = await client.run(lambda redis: save_keys(redis, keys))
            count: int = await redrive(where, ids)
            states = await scene.states(lost)
            keys = await harness.keys()
            await client.run(lambda redis: restore_keys(redis, saved, keys))
            redriven.append(states)
            return count

        scene.ledger.redrive = forget_once
        await harness.pass_time(LOST + 1)
        running = asyncio.create_task(scene.recovery().run())
        await scene.clock.advance(LOST + 1)
        async with asyncio.timeout(60):
            while not redriven or (await scene.states(lost))[0][0] is not State.RETRY:
                await asyncio.sleep(0.02)
                await scene.clock.advance(PAUSE)
        running.cancel()
        assert redriven == [[(State.RETRY, MessageLost.kind)]]
        assert await scene.ledger.count_redriven() == 1
        await client.close()
    finally:
        await harness.close()
