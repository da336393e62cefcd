"""A large object is handed over between hosts: only parts in flight are sent again, and the host that lost it changes nothing."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest
from bench.restart import fill
from tests.fleet.handover import (
    AT_ONCE,
    KEY,
    MIB,
    PART,
    Engine,
    Handover,
    Worker,
    aborted,
    is_done,
    on_postgresql,
    on_redis,
)

from skyferry.testing.servers import PostgresServer, RadosGateway, RedisServer

LEASE = 8.0  # seconds
PARTS = 12
PASSED = 5  # parts that the destination confirms to the first worker; it keeps those that follow


@pytest.fixture
def postgresql(postgres_server: PostgresServer) -> Engine:
    return on_postgresql(postgres_server)


@pytest.fixture
def redis(redis_server: RedisServer) -> Engine:
    return on_redis(redis_server)


@pytest.fixture
def content(tmp_path: Path) -> Path:
    fill(tmp_path / "content", PARTS * PART)
    return tmp_path / "content"


@pytest.fixture(params=["postgresql", "redis"])
async def scene(
    request: pytest.FixtureRequest, tmp_path: Path, radosgw_server: RadosGateway, content: Path
) -> Handover:
    made = Handover(tmp_path, radosgw_server, request.getfixturevalue(request.param), LEASE)
    await made.prepare(content)
    return made


def assert_sent_missing(one: Worker, two: Worker) -> None:
    """Only parts in flight are sent again: the other worker sent each part that was not confirmed to the first, and no other."""
    assert set(two.proxy.parts) == set(range(1, PARTS + 1)) - one.proxy.stored
    assert set(two.proxy.parts) & set(one.proxy.parts) == set(one.proxy.parts) - one.proxy.stored
    assert len(set(one.proxy.parts) - one.proxy.stored) <= AT_ONCE


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=lambda end: end.name)
async def test_another_host_sends_the_missing_parts_only(scene: Handover, content: Path, end: signal.Signals) -> None:
    """It lists the parts. After `kill -9` it waits for the end of the lease."""
    async with scene.worker("one", PASSED) as one:
        await one.reach(lambda: one.proxy.kept == AT_ONCE and len(one.proxy.stored) == PASSED)
        killed = time.monotonic()
        await one.end(end)
        async with scene.worker("two") as two:
            await two.reach(lambda: bool(two.proxy.changes()))
            waited = time.monotonic() - killed
            await two.reach(lambda: is_done(two))
        assert any("uploadId=" in e.target for e in two.proxy.exchanges if e.method == "GET")
    assert_sent_missing(one, two)
    if end is signal.SIGKILL:
        assert waited >= LEASE / 2  # it was renewed three times within the lease
    assert await asyncio.to_thread(scene.has, content)
    assert not scene.uploads()


@pytest.mark.parametrize("scene", ["postgresql"], indirect=True)
async def test_a_stopped_worker_that_wakes_after_the_handover_changes_nothing(scene: Handover, content: Path) -> None:
    """Its requests under way are aborted, and it begins none."""
    async with scene.worker("one", PASSED) as one:
        await one.reach(lambda: one.proxy.kept == AT_ONCE)
        one.send(signal.SIGSTOP)
        async with scene.worker("two") as two:
            await two.reach(lambda: is_done(two))
            before = len(one.proxy.exchanges)
            one.send(signal.SIGCONT)
            await one.reach(lambda: "transfer.lease_lost" in one.log)
            await one.end(signal.SIGTERM)
            assert one.proxy.changes(before) == []
    assert_sent_missing(one, two)
    assert await asyncio.to_thread(scene.has, content)


@pytest.mark.parametrize("scene", ["redis"], indirect=True)
async def test_an_upload_whose_source_has_changed_is_aborted(scene: Handover, tmp_path: Path) -> None:
    """The other host begins again with the new version, and leaves no upload."""
    async with scene.worker("one", PASSED) as one:
        await one.reach(lambda: one.proxy.kept == AT_ONCE)
        await one.end(signal.SIGKILL)
    (begun,) = scene.uploads()
    changed = tmp_path / "changed"
    fill(changed, 3 * PART + MIB)
    await scene.replace(changed)
    async with scene.worker("two") as two:
        await two.reach(lambda: is_done(two))
    assert begun in aborted(two)
    assert set(two.proxy.parts) == {1, 2, 3, 4}
    assert await asyncio.to_thread(scene.has, changed)
    assert not scene.uploads()
    assert scene.client.head_object(Bucket=scene.destination, Key=KEY)["ContentLength"] == 3 * PART + MIB
