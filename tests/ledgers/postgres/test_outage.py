"""Confirmed records of the ledger in PostgreSQL survive `kill -9` of the server, and mistakes are named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from itertools import count

import pytest
from tests.ledgers.postgres.places import PostgresHarness

from skyferry.clouds.credentials import fixed_credentials
from skyferry.errors import LedgerError
from skyferry.ledgers.postgres import maintenance as postgres_maintenance
from skyferry.ledgers.postgres.ledger import PostgresLedger, open_ledger
from skyferry.ledgers.postgres.maintenance import PostgresLedgerMaintenance
from skyferry.model import Claim, State
from skyferry.ports import Filter, Settlement
from skyferry.postgres.pool import PostgresPool
from skyferry.testing.ledger.harness import claim, dead, done, finish, settle, transfer
from skyferry.testing.servers import PostgresServer, postgres


@pytest.fixture
async def harness(postgres_server: PostgresServer) -> AsyncIterator[PostgresHarness]:
    harness = PostgresHarness(postgres_server)
    yield harness
    await harness.close()


def maintenance(harness: PostgresHarness) -> PostgresLedgerMaintenance:
    return PostgresLedgerMaintenance(harness.pool, lambda: open_ledger(harness.pool(), "rebuild", 30.0))


async def work(ledger: PostgresLedger, name: str, confirmed: set[str], stop: asyncio.Event) -> None:
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
        await asyncio.sleep(0)


async def test_confirmed_settlements_survive_the_death_of_the_server() -> None:
    """The workers fail while it is down, go on by themselves, and the records agree with each other."""
    with postgres() as server:
        harness = PostgresHarness(server)
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
            await asyncio.sleep(0.3)
            server.daemon.start()
        before = len(confirmed)
        while len(confirmed) < before + 50:
            await asyncio.sleep(0.02)
        stop.set()
        await asyncio.gather(*tasks)
        rows = [await ledgers[0].get_transfer(id_) for id_ in confirmed]
        assert {row.state for row in rows if row} <= {State.DONE, State.DEAD}
        assert None not in rows
        assert await maintenance(harness).find_damage() == []
        await harness.close()


async def test_an_old_holder_is_refused_wherever_it_comes_from(harness: PostgresHarness) -> None:
    """Its renewal and its settlement, after another process took the key over."""
    one, two = await harness.open("one"), await harness.open("two")
    (held,) = await claim(one, transfer("t"))
    await harness.pass_time(31)
    (taken,) = await claim(two, transfer("t"))
    assert taken.fence > held.fence
    assert await one.renew([held]) == [held]
    assert not await settle(one, held, done(held))
    assert await settle(two, taken, done(taken))


async def test_a_ledger_of_a_newer_release_is_refused(harness: PostgresHarness) -> None:
    """With what to do."""
    one = await harness.open("one")
    pool = harness.pool()
    await pool.run(lambda db: db.execute(f"COMMENT ON TABLE {harness.schema}.transfers IS 'skyferry ledger 99'"))
    with pytest.raises(LedgerError, match=r"version 99, and this Skyferry knows \d+ \(Update Skyferry"):
        await harness.open("two")
    await finish(one, transfer("t"))
    await pool.close()


async def test_a_wrong_password_is_named(harness: PostgresHarness) -> None:
    """In the words of the server, without the password."""
    with pytest.raises(LedgerError, match=r"password authentication failed.*identity.secret_file") as refused:
        await open_ledger(harness.pool(password="not this one"), "one", 30.0)
    assert "not this one" not in str(refused.value)


async def test_a_role_without_rights_is_named(harness: PostgresHarness, postgres_server: PostgresServer) -> None:
    """It can neither make the schema nor read another one's."""
    await harness.open("one")
    role = f"{harness.schema}_reader"
    postgres_server.run(f"CREATE ROLE {role} LOGIN PASSWORD 'of the reader'")
    with pytest.raises(LedgerError, match=r"lacks .*GRANT "):
        await open_ledger(harness.pool(role, "of the reader"), "two", 30.0)


async def test_settings_that_lose_confirmed_records_are_reported() -> None:
    """By `doctor`, with what to set."""
    with postgres("synchronous_commit=off", "full_page_writes=off") as server:
        harness = PostgresHarness(server)
        wrong = (await maintenance(harness).inspect()).wrong
        assert [each.hint for each in wrong] == ["Set full_page_writes = on.", "Set synchronous_commit = on."]
        await harness.close()


async def test_inconsistent_records_are_found(harness: PostgresHarness) -> None:
    """As restoring single tables from a backup makes them."""
    assert not await maintenance(harness).exists()
    one = await harness.open("one")
    assert await maintenance(harness).exists()
    await finish(one, transfer("t"), dead())
    assert await maintenance(harness).find_damage() == []
    pool = harness.pool()
    await pool.run(lambda db: db.execute(f"DELETE FROM {harness.schema}.letters"))
    assert await maintenance(harness).find_damage() == ["1 dead transfers without their letter"]
    await pool.close()


async def test_a_check_takes_as_long_as_it_needs(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the whole ledger: neither a limit of the server nor that of other statements ends it."""
    harness = PostgresHarness(postgres_server, postgres_server.create_database())
    await harness.open("one")
    postgres_server.run(f"ALTER DATABASE {harness.database} SET statement_timeout = '300ms'")
    long = {"inconsistent": "SELECT 'of the check', 1 FROM pg_sleep(1)"}
    monkeypatch.setattr(postgres_maintenance, "SQL", {**postgres_maintenance.SQL, **long})
    short = replace(harness.pool()._options, statement_timeout=0.6)
    pool = PostgresPool("ledger", short, fixed_credentials(postgres_server.password), LedgerError)
    maintained = PostgresLedgerMaintenance(lambda: pool, lambda: open_ledger(pool, "rebuild", 30.0))
    assert await maintained.find_damage() == ["1 of the check"]
    await harness.close()


async def test_a_rebuild_fills_an_empty_ledger_and_adds_to_another(harness: PostgresHarness) -> None:
    """Others may use it meanwhile."""
    async with maintenance(harness).rebuild() as ledger:
        await finish(ledger, transfer("t"))
    with pytest.raises(Exception, match="not empty"):
        async with maintenance(harness).rebuild():
            pass
    async with maintenance(harness).rebuild(add=True) as ledger:
        assert len((await ledger.list_transfers(Filter())).items) == 1
