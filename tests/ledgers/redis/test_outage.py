"""Confirmed records of the ledger in Redis survive `kill -9` of the server, and mistakes are named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import count
from typing import TypeAlias

import pytest
from tests.ledgers.redis.places import RedisHarness, connect

from skyferry.errors import LedgerError, LedgerIncompatible
from skyferry.ledgers.redis.ledger import RedisLedger, open_ledger
from skyferry.model import Claim, Position, State
from skyferry.ports import Filter, Settlement
from skyferry.redis.client import RedisClient
from skyferry.testing.ledger.harness import claim, dead, done, finish, settle, transfer
from skyferry.testing.servers import RedisServer, redis

OwnServer: TypeAlias = tuple[RedisLedger, RedisClient[LedgerError], list[LedgerError | None]]


@pytest.fixture
async def harness(redis_server: RedisServer) -> AsyncIterator[RedisHarness]:
    harness = RedisHarness(redis_server)
    yield harness
    await harness.close()


async def work(ledger: RedisLedger, name: str, confirmed: set[str], stop: asyncio.Event) -> None:
    """One batch after the other, as far as the server lets it."""
    for batch in count():
        if stop.is_set():
            return
        with suppress(LedgerError):
            held = await ledger.claim([transfer(f"{name}-{batch}-{number}") for number in range(5)])
            claims = [answer for answer in held if isinstance(answer, Claim)]
            outcomes = [dead() if number == 4 else done(c) for number, c in enumerate(claims)]
            answers = await ledger.settle([Settlement(c, o) for c, o in zip(claims, outcomes, strict=True)])
            confirmed |= {c.transfer.id for c, recorded in zip(claims, answers, strict=True) if recorded}
        await asyncio.sleep(0.001)


async def crash_twice(server: RedisServer, harness: RedisHarness) -> set[str]:
    """Kill the server twice while two workers use the ledger. Return what they believe to be settled."""
    ledgers = [await harness.open(name) for name in ("one", "two")]
    confirmed, stop = set[str](), asyncio.Event()
    tasks = [
        asyncio.create_task(work(ledger, f"{ledger.owner}-{number}", confirmed, stop))
        for ledger in ledgers
        for number in range(3)
    ]
    for _ in range(2):
        before = len(confirmed)
        while len(confirmed) < before + 50:
            await asyncio.sleep(0.02)
        server.daemon.kill()
        await asyncio.sleep(0.1)
        server.daemon.start()
    before = len(confirmed)
    while len(confirmed) < before + 50:
        await asyncio.sleep(0.02)
    stop.set()
    await asyncio.gather(*tasks)
    return confirmed


@pytest.mark.parametrize("sync", ["always", "everysec"])
async def test_settlements_survive_the_death_of_the_server(sync: str) -> None:
    """The workers fail while it is down, go on by themselves, and the records agree with each other.

    With `always`, all that were confirmed are there. With `everysec`, those of the last seconds may be missing while the disk is
    slow; they are whole or not there, and can be done again.
    """
    with redis("--appendfsync", sync) as server:
        harness = RedisHarness(server)
        confirmed = await crash_twice(server, harness)
        ledger = harness.opened[0]
        rows = {id_: await ledger.get_transfer(id_) for id_ in confirmed}
        lost = [id_ for id_, row in rows.items() if row is None or row.state is State.CLAIMED]
        assert {row.state for row in rows.values() if row} <= {State.DONE, State.DEAD, State.CLAIMED}
        assert not (lost and sync == "always")
        assert await harness.maintenance().find_damage() == []
        await harness.close()


async def test_a_server_that_forgot_everything_accepts_no_old_claim() -> None:
    """Neither a renewal nor a settlement of what it no longer knows; fences go on rising."""
    with redis("--appendonly", "no") as server:
        harness = RedisHarness(server)
        one, two = await harness.open("one"), await harness.open("two")
        held, other = await claim(one, transfer("t"), transfer("other"))
        server.daemon.kill()
        server.daemon.start()
        for ledger in (one, two):
            with suppress(LedgerError):  # its connection has ended
                await ledger.count_transfers()
        (taken,) = await claim(two, transfer("t"))
        assert taken.fence > held.fence
        assert await one.renew([held, other]) == [held, other]
        assert not await settle(one, held, done(held))
        assert not await settle(one, other, done(other))
        assert await settle(two, taken, done(taken))
        await one.check_writable()
        assert await harness.maintenance().find_damage() == []
        await harness.close()


async def test_concurrent_settlements_of_one_key_lose_no_position(harness: RedisHarness) -> None:
    """A batch that was built on an older placement is built again."""
    one = await harness.open("one")
    claims = await claim(one, *(transfer(f"{n}", key="k") for n in range(6)))
    positions = [Position(f"scheme-{n}", "1") for n in range(6)]
    batches = [[Settlement(c, done(c, p), last=False)] for c, p in zip(claims, positions, strict=True)]
    assert await asyncio.gather(*map(one.settle, batches)) == [[True]] * 6
    (placed,) = await one.get_placements("to", ["k"])
    assert placed is not None
    assert set(placed.positions) == set(positions)


async def test_a_refused_settlement_moves_nothing_in_its_batch(harness: RedisHarness) -> None:
    """The next one of the key is merged with what was there before."""
    one = await harness.open("one")
    first, second = await claim(one, transfer("a", key="k"), transfer("b", key="k"))
    assert await settle(one, first, done(first, Position("x", "1")), last=False)
    batch = [
        Settlement(first, done(first, Position("y", "9")), last=False),
        Settlement(second, done(second, Position("z", "1"))),
    ]
    assert await one.settle(batch) == [False, True]
    (placed,) = await one.get_placements("to", ["k"])
    assert placed is not None
    assert set(placed.positions) == {Position("x", "1"), Position("z", "1")}


async def test_two_ledgers_share_a_server(redis_server: RedisServer, harness: RedisHarness) -> None:
    """Each has keys of its own, all in one slot of a cluster."""
    other = RedisHarness(redis_server)
    one, two = await harness.open("one"), await other.open("one")
    await finish(one, transfer("t"))
    assert await two.get_transfer(transfer("t").id) is None
    assert all(key.startswith(f"{{{harness.name}}}:ledger:") for key in await harness.keys())
    await other.close()


async def test_a_ledger_of_a_newer_release_is_refused(harness: RedisHarness) -> None:
    """With what to do, unless it says that older programs may use it."""
    one = await harness.open("one")
    key = f"{{{harness.name}}}:ledger:counters"
    client = harness.client()
    await client.run(lambda redis: redis.hset(key, "version", 99))
    await harness.open("two")
    await client.run(lambda redis: redis.hset(key, "compatible_from", 99))
    with pytest.raises(LedgerIncompatible, match=r"from version 99, and this Skyferry knows 2 \(Update Skyferry"):
        await harness.open("three")
    status = await harness.maintenance().read_status()
    assert (status.version, status.compatible_from, status.transfers) == (99, 99, None)
    with pytest.raises(LedgerIncompatible, match="from version 99"):
        await harness.maintenance().find_damage()
    await client.run(lambda redis: redis.hset(key, "version", "x"))
    with pytest.raises(LedgerIncompatible, match="another name"):
        await harness.open("three")
    await client.run(lambda redis: redis.hset(key, mapping={"version": 1, "compatible_from": 1}))
    await finish(one, transfer("t"))
    await client.close()


async def test_migrating_makes_a_ledger_once(harness: RedisHarness) -> None:
    """And the status has its size and counts."""
    maintenance = harness.maintenance()
    assert not await maintenance.exists()
    steps = ("0001 expand: keys", "0002 expand: compressed records", "0002 contract: compressed records")
    assert (await maintenance.read_status()).pending == steps
    assert [step async for step in maintenance.migrate()] == list(steps)
    assert [step async for step in maintenance.migrate()] == []
    await finish(await harness.open("one"), transfer("t"))
    status = await maintenance.read_status()
    assert (status.version, status.compatible_from, status.pending) == (2, 2, ())
    assert status.transfers is not None
    assert status.transfers[State.DONE] == 1
    assert status.size > 500


async def test_a_wrong_password_is_named() -> None:
    """In the words of the server, without the password."""
    with redis("--requirepass", "right") as server:
        for password, words in (("not this one", "identity.secret_file"), ("", "REDIS_PASSWORD")):
            with pytest.raises(LedgerError, match=words) as refused:
                await open_ledger(connect(server, "l", password=password), "one", 30.0)
            assert "not this one" not in str(refused.value)


@pytest.fixture
async def own() -> AsyncIterator[OwnServer]:
    """A ledger at a server of its own, a client of that server, and the health that the ledger reports."""
    with redis() as server:
        harness = RedisHarness(server)
        heard: list[LedgerError | None] = []
        one = await open_ledger(harness.client(), "one", 30.0, heard.append)
        harness.opened.append(one)
        admin = harness.client()
        yield one, admin, heard
        await admin.close()
        await harness.close()


async def test_a_full_server_and_a_replica_are_outages(own: OwnServer) -> None:
    """The work goes on once there is room, and on a primary."""
    one, admin, heard = own
    await admin.run(lambda r: r.config_set("maxmemory", 1))
    with pytest.raises(LedgerError, match="maxmemory"):
        await one.claim([transfer("t")])
    await admin.run(lambda r: r.config_set("maxmemory", 0))
    (held,) = await claim(one, transfer("t"))
    await admin.run(lambda r: r.replicaof("127.0.0.1", 1))
    with pytest.raises(LedgerError, match="Name the primary"):
        await settle(one, held, done(held))
    with pytest.raises(LedgerError, match="Name the primary"):
        await one.check_writable()
    await admin.run(lambda r: r.replicaof("no", "one"))
    assert await settle(one, held, done(held))
    assert [error is None for error in heard] == [False, True, False, False, True]


async def test_a_demoted_server_is_left_once_its_address_leads_to_the_new_primary() -> None:
    """It keeps the connections of its clients, and refuses each write."""
    with redis() as old, redis() as new:
        target, opened = old.port, []

        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
            opened.append(asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer)))

        async with await asyncio.start_server(forward, "127.0.0.1", 0) as address:
            port = address.sockets[0].getsockname()[1]
            one = await open_ledger(connect(RedisServer(port, old.daemon), "l"), "one", 30.0)
            target = new.port
            admin = connect(old, "l")
            await admin.run(lambda r: r.replicaof("127.0.0.1", new.port))
            with pytest.raises(LedgerError, match="Name the primary"):
                await one.claim([transfer("t")])
            await finish(one, transfer("t"))
            for each in (one, admin):
                await each.close()
        await asyncio.gather(*opened)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


async def test_a_server_that_answers_queries_alone_is_one_outage(own: OwnServer) -> None:
    """It is not restored by each count, such as those of `/ready`."""
    one, admin, heard = own
    await admin.run(lambda r: r.config_set("min-replicas-to-write", 1))
    for _ in range(3):
        with pytest.raises(LedgerError, match="NOREPLICAS"):
            await one.claim([transfer("t")])
        await one.count_transfers()
    await admin.run(lambda r: r.config_set("min-replicas-to-write", 0))
    await one.count_transfers()
    assert None not in heard
    await one.claim([transfer("t")])
    assert [error is None for error in heard] == [False, False, False, True]


async def test_settings_that_lose_confirmed_records_are_reported() -> None:
    """By `doctor`, with what to set; also that they cannot be read."""
    with redis("--maxmemory-policy", "allkeys-lru") as server:
        harness = RedisHarness(server)
        wrong = (await harness.maintenance().inspect()).wrong
        assert [each.hint for each in wrong] == ["Set maxmemory-policy noeviction.", "Set appendfsync always."]
        client = harness.client()
        await client.run(
            lambda r: r.acl_setuser("worker", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-config"])
        )
        await client.close()
        maintenance = type(harness.maintenance())(lambda: harness.client("worker", "x"), lambda: harness.open("w"))
        (unreadable,) = (await maintenance.inspect()).wrong
        assert "cannot be read" in unreadable.what
        await harness.close()


async def test_a_user_with_the_documented_rights_can_do_everything(harness: RedisHarness) -> None:
    """The keys of the ledger, and no dangerous command."""
    client = harness.client()
    rights = ["+@read", "+@write", "+@scripting", "+@connection", "+time", "+info", "+memory|usage"]
    keys = [f"{{{harness.name}}}:*"]
    await client.run(
        lambda r: r.acl_setuser("skyferry", enabled=True, passwords=["+of the worker"], keys=keys, commands=rights)
    )
    await client.close()
    ledger = await open_ledger(harness.client("skyferry", "of the worker"), "one", 30.0)
    await finish(ledger, transfer("t"))
    await finish(ledger, transfer("u"), dead())
    await ledger.check_writable()
    assert len((await ledger.list_transfers(Filter())).items) == 2
    await ledger.close()


async def test_a_right_that_a_script_lacks_is_named(harness: RedisHarness) -> None:
    """With what to do, as one that a command of the worker lacks."""
    client = harness.client()
    rights = ["+@read", "+@write", "-hset", "+@scripting", "+@connection", "+time", "+info"]
    keys = [f"{{{harness.name}}}:*"]
    await client.run(lambda r: r.acl_setuser("half", enabled=True, passwords=["+of half"], keys=keys, commands=rights))
    await client.close()
    ledger = await open_ledger(harness.client("half", "of half"), "one", 30.0)
    with pytest.raises(LedgerError, match=r"can't run this command.* \(at 127\.0\.0\.1:\d+\)") as refused:
        await ledger.claim([transfer("t")])
    assert "ACL SETUSER" in refused.value.hint
    with suppress(LedgerError):
        await ledger.close()


async def test_inconsistent_records_are_found(harness: RedisHarness) -> None:
    """As evicted or deleted keys make them."""
    one = await harness.open("one")
    await finish(one, transfer("t"), dead())
    assert await harness.maintenance().find_damage() == []
    client = harness.client()
    await client.run(lambda redis: redis.delete(f"{{{harness.name}}}:ledger:letters"))
    damage = await harness.maintenance().find_damage()
    assert damage == ["1 dead transfers without their letter", "0 dead letters, 1 in listings"]
    await client.run(lambda redis: redis.delete(f"{{{harness.name}}}:ledger:transfers"))
    assert "0 transfers, 1 in listings" in await harness.maintenance().find_damage(quick=True)
    await client.close()


async def test_a_rebuild_fills_an_empty_ledger_and_adds_to_another(harness: RedisHarness) -> None:
    """Others may use it meanwhile."""
    async with harness.maintenance().rebuild() as ledger:
        await finish(ledger, transfer("t"))
    with pytest.raises(Exception, match="not empty"):
        async with harness.maintenance().rebuild():
            pass
    async with harness.maintenance().rebuild(add=True) as ledger:
        assert len((await ledger.list_transfers(Filter())).items) == 1
