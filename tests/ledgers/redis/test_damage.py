"""Records with wrong bytes, as a fault of the memory or another program leaves them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from tests.ledgers.redis.places import RedisHarness, connect

from skyferry.errors import LedgerDamaged, LedgerError
from skyferry.ledgers.redis.ledger import open_ledger
from skyferry.ledgers.redis.records import UNREADABLE, restore_text, shrink_text
from skyferry.model import Claim
from skyferry.ports import Filter, Wait
from skyferry.testing.ledger.harness import claim, finish, transfer
from skyferry.testing.servers import RedisServer

SAYS = "the record of {} cannot be read: .*restore a backup of the server"
T = transfer("t")


@pytest.fixture(params=[False, True], ids=["plain", "compressed"])
async def harness(redis_server: RedisServer, request: pytest.FixtureRequest) -> AsyncIterator[RedisHarness]:
    """A ledger with a done transfer."""
    harness = RedisHarness(redis_server)
    if request.param:
        await harness.migrate()
    await finish(await harness.open("one"), T)
    yield harness
    await harness.close()


async def damage(harness: RedisHarness, key: str) -> None:
    """Overwrite bytes in the text of the one record of a hash."""
    client, name = harness.client(), f"{{{harness.name}}}:ledger:{key}"
    [(field, record)] = (await client.run(lambda redis: redis.hgetall(name))).items()
    half = len(record) // 2
    await client.run(lambda redis: redis.hset(name, field, record[:half] + b"\xff" * 30 + record[half + 30 :]))
    await client.close()


async def test_a_transfer_that_cannot_be_read_is_named(harness: RedisHarness) -> None:
    await damage(harness, "transfers")
    one = await harness.open("two")
    for read in (one.get_transfer(T.id), one.list_transfers(Filter())):
        with pytest.raises(LedgerDamaged, match=SAYS.format(f"transfer {T.id}")):
            await read


async def test_a_placement_that_cannot_be_read_delays_only_its_key(
    harness: RedisHarness, redis_server: RedisServer
) -> None:
    """The ledger is reported as damaged, and the other transfers of the batch go on."""
    await damage(harness, "places")
    heard: list[LedgerError | None] = []
    ledger = await open_ledger(connect(redis_server, harness.name), "two", 30.0, heard.append)
    with pytest.raises(LedgerDamaged, match=SAYS.format("key/t in to")):
        await ledger.get_placements("to", [T.key])
    delayed, claimed = await ledger.claim([replace(T, asked=True), transfer("other")])
    assert isinstance(delayed, Wait)
    assert isinstance(claimed, Claim)
    assert [type(error) for error in heard] == [LedgerDamaged]
    await ledger.close()


async def test_a_waiting_transfer_that_cannot_be_read_ends_no_worker(harness: RedisHarness) -> None:
    """Its monitor passes over an error of the ledger, and over no other."""
    one = await harness.open("two")
    [_] = await claim(one, replace(T, asked=True))
    await damage(harness, "transfers")
    with pytest.raises(LedgerDamaged, match=SAYS.format(f"transfer {T.id}")):
        await one.find_oldest_unsettled()


@pytest.mark.parametrize("change", [lambda packed: packed[:-1], lambda packed: packed + b"x"], ids=["cut", "longer"])
def test_a_compressed_text_that_is_not_whole_is_refused(change: Callable[[bytes], bytes]) -> None:
    """A transfer would lose its receipt, which follows it."""
    packed = shrink_text('["a"]\n["b"]', b"")
    assert restore_text(packed, b"") == '["a"]\n["b"]'
    with pytest.raises(UNREADABLE):
        restore_text(change(packed), b"")
