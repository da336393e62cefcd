"""Two releases on one ledger in Redis, and records that only the newer release reads, after the older one has ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.ledgers.redis.old_program import OldProgram
from tests.ledgers.redis.places import RedisHarness

from skyferry.errors import LedgerError, LedgerIncompatible
from skyferry.ledgers.redis.ledger import RedisLedger, open_ledger
from skyferry.model import Claim, State, Transfer
from skyferry.ports import Filter, Heartbeat, Settled, Settlement, Wait
from skyferry.testing.ledger.harness import claim, done, finish, settle, transfer
from skyferry.testing.servers import RedisServer

EXPANSION, CONTRACTION = "0002 expand: compressed records", "0002 contract: compressed records"


@pytest.fixture
async def harness(redis_server: RedisServer) -> AsyncIterator[RedisHarness]:
    harness = RedisHarness(redis_server)
    yield harness
    await harness.close()


async def measure_record(harness: RedisHarness, key: str, field: bytes) -> int:
    """Return the bytes of a field of a hash."""
    client, name = harness.client(), f"{{{harness.name}}}:ledger:{key}"
    size = await client.run(lambda redis: redis.hstrlen(name, field))
    await client.close()
    return int(size)


async def check(ledger: RedisLedger, *transfers: Transfer) -> None:
    """Assert that each is done, and found in all ways."""
    listed = {row.transfer.id: row for row in (await ledger.list_transfers(Filter(state=State.DONE))).items}
    placed = {p.key: p async for p in ledger.list_placements("to", "source")}
    for t in transfers:
        row = await ledger.get_transfer(t.id)
        assert row
        assert (row, row.transfer, row.state) == (listed[t.id], t, State.DONE)
        assert row.receipt == done(Claim(t, 1, 1, 0, None, ())).receipt
        assert [placed[t.key]] == await ledger.get_placements("to", [t.key])
        assert placed[t.key].source == replace(t.source, version="s1")


async def test_an_older_program_works_beside_until_the_ledger_is_migrated(harness: RedisHarness) -> None:
    """The step waits for it and names it; afterwards that program is refused, and all records are read."""
    old, a, b, c, d = OldProgram(harness, 7), *map(transfer, "abcd")
    await old.enter()
    kind, fence, _ = await old.claim(a)
    assert kind == 0
    await old.settle(a, fence, done(Claim(a, 1, 1, 0, None, ())))
    new = await harness.open("new")
    assert (await harness.maintenance().read_status()).pending == (CONTRACTION,)
    await old.enter()
    [answer] = await new.claim([a])
    assert answer == Settled(a.id, State.DONE, "")
    await finish(new, b)
    await check(new, a, b)
    assert (await old.read(b))[0] == b
    assert [await old.get_placement(b)] == await new.get_placements("to", [b.key])
    assert (await old.claim(b))[:2] == (1, 2.0)
    _, fence, _ = await old.claim(c)
    assert isinstance((await new.claim([c]))[0], Wait)
    await old.settle(c, fence, done(Claim(c, 1, 1, 0, None, ())))

    await new.heartbeat(Heartbeat("host", "2", "", 0.0), [])
    assert sorted(await old.list_workers()) == ["new", "old-7"]
    with pytest.raises(LedgerError, match=f"{CONTRACTION} waits for older programs: old-7"):
        await harness.migrate()
    await finish(new, d)
    assert (await old.read(d))[0] == d
    await old.leave()
    assert await harness.migrate() == [CONTRACTION]
    assert await harness.migrate() == []
    refused = OldProgram(harness, 8)
    with pytest.raises(AssertionError, match="2"):
        await refused.enter()
    await refused.leave()
    await check(new, a, b, c, d)


async def test_a_worker_notices_that_the_ledger_was_migrated(harness: RedisHarness) -> None:
    """And its records take less than half of the memory; a transfer that is claimed again is compressed then."""
    one = await harness.open("one")
    long, short = transfer("before", key="k" * 80), transfer("behind", key="l" * 80)
    await finish(one, long)
    await harness.migrate()
    await finish(one, transfer("meanwhile"))
    await one.check_writable()
    await finish(one, short)
    await check(one, long, short, transfer("meanwhile"))
    sizes = [await measure_record(harness, "transfers", bytes.fromhex(t.id)) for t in (long, short)]
    assert 2 * sizes[1] < sizes[0]
    again = replace(long, asked=True)
    await settle(one, (await claim(one, again))[0], done((await claim(one, again))[0]))
    assert await measure_record(harness, "transfers", bytes.fromhex(long.id)) * 2 < sizes[0]
    await check(one, long, short)


async def test_a_worker_that_is_too_old_stops_once_it_notices(harness: RedisHarness) -> None:
    """It was without a connection when a newer release looked for older workers. It reports that, and writes nothing more."""
    heard: list[LedgerError | None] = []
    one = await open_ledger(harness.client(), "one", 30.0, heard.append)
    [held] = await claim(one, transfer("t"))
    await harness.set_counter("compatible_from", 3)
    for _ in range(2):
        with pytest.raises(LedgerIncompatible, match="from version 3, and this Skyferry knows 2"):
            await one.check_writable()
    for use in (one.settle([Settlement(held, done(held))]), one.claim([transfer("other")]), one.count_transfers()):
        with pytest.raises(LedgerIncompatible) as found:
            await use
        assert found.value.transient is False  # `run --until-idle` ends
    assert {type(error) for error in heard} == {LedgerIncompatible}
    await harness.set_counter("compatible_from", 1)  # a backup was restored
    await one.check_writable()
    assert await settle(one, held, done(held))
    await one.count_transfers()
    assert heard[-1] is None
    await one.close()


async def test_a_server_that_lost_the_contraction_gets_it_back(harness: RedisHarness) -> None:
    """By a crash without flush, or a failover. A worker has compressed records since, which an older program cannot read."""
    one, old = await harness.open("one"), OldProgram(harness, 7)
    await harness.migrate()
    await one.check_writable()
    await harness.set_counter("compatible_from", 1)
    await finish(one, transfer("t"))
    await old.enter()
    await one.check_writable()
    with pytest.raises(AssertionError, match="2"):
        await old.enter()
    await old.leave()


async def test_a_transfer_that_is_settled_at_another_key_is_listed_there(harness: RedisHarness) -> None:
    """A rebuild takes a copy that was made by hand, with the provenance of another key, for the transfer to that key."""
    await harness.migrate()
    one, t = await harness.open("one"), transfer("t", key="by-hand/t")
    await finish(one, t)
    moved = replace(t, key="again/t", asked=True)
    [again] = await claim(one, moved)
    assert await settle(one, again, done(again))
    prefixes = [Filter(key_prefix=prefix) for prefix in ("by-hand/", "again/")]
    listed = [[row.transfer.key for row in (await one.list_transfers(where)).items] for where in prefixes]
    assert listed == [[], ["again/t"]]
    of_source = Filter(source_key=t.source.key)
    assert [row.transfer.key for row in (await one.list_transfers(of_source)).items] == ["again/t"]
    await harness.pass_time(100.0)
    assert await one.prune(10.0) == 1
    for where in (*prefixes, of_source):
        assert (await one.list_transfers(where)).items == []


async def test_a_receipt_of_a_worker_that_has_not_noticed_is_the_last_one(harness: RedisHarness) -> None:
    """The record of the attempt before is compressed, and has an older receipt."""
    late, t = await harness.open("late"), transfer("t")
    await harness.migrate()
    await finish(await harness.open("early"), t)
    [again] = await claim(late, replace(t, asked=True))
    outcome = done(again)
    later = replace(outcome, receipt=replace(outcome.receipt, size=77, attempt=9))
    assert await settle(late, again, later)
    for ledger in (late, await harness.open("another")):
        row = await ledger.get_transfer(t.id)
        assert row
        assert row.receipt
        assert (row.transfer, row.receipt.size, row.receipt.attempt) == (t, 77, 9)
