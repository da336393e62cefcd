"""A schema that a newer release has contracted, and an older program that meets it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from tests.ledgers.postgres.places import PostgresHarness
from tests.ledgers.postgres.test_schema import LATER, NEXT, execute, maintain, make_later_history, migrate, use

from skyferry.errors import LedgerError, LedgerIncompatible
from skyferry.ledgers.postgres import maintenance, status
from skyferry.ledgers.postgres.database import HISTORY
from skyferry.ledgers.postgres.ledger import PostgresLedger, open_ledger
from skyferry.postgres import schema
from skyferry.testing.ledger.harness import finish, transfer
from skyferry.testing.servers import PostgresServer

THIS = f"skyferry ledger {HISTORY.known}"  # the name of the connections of this release
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = '{}'"
ENDED = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = '{}'"
SAYS = "from version 98, and this Skyferry knows .*Update Skyferry"


@pytest.fixture
async def harness(postgres_server: PostgresServer) -> AsyncIterator[PostgresHarness]:
    """Ledgers in a database without any other client."""
    harness = PostgresHarness(postgres_server, postgres_server.create_database())
    yield harness
    await harness.close()


async def test_a_schema_that_is_too_new_is_not_called_damaged(harness: PostgresHarness) -> None:
    """The check would miss the tables that a contraction has removed."""
    await harness.open("one")
    await execute(harness, f"COMMENT ON TABLE {harness.schema}.transfers IS 'skyferry ledger 99, compatible from 98'")
    await execute(harness, f"DROP TABLE {harness.schema}.places")
    with pytest.raises(LedgerIncompatible, match=SAYS):
        await maintain(harness).find_damage()


@pytest.fixture
def next_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ledger migrate` of the next release. It waits for the lock of a table as long as it takes."""
    history = make_later_history(*LATER)
    monkeypatch.setattr(maintenance, "HISTORY", history)
    monkeypatch.setattr(status, "HISTORY", history)
    monkeypatch.setattr(schema, "LOCKED", "600s")


async def open_of_this_release(harness: PostgresHarness) -> PostgresLedger:
    return await open_ledger(harness.pool(application=THIS), "worker", 30.0)


@pytest.mark.usefixtures("next_release")
async def test_a_program_that_starts_during_a_contraction_waits_for_its_end(harness: PostgresHarness) -> None:
    """The migration has looked for older programs before it came. It would read the numbers of before, and go on."""
    await (await open_of_this_release(harness)).close()
    await harness.stop_clock()
    reader = await harness.pool(application=f"skyferry ledger {NEXT}").connect()  # as a backup
    await reader.execute(f"BEGIN; LOCK TABLE {harness.schema}.identities IN ACCESS SHARE MODE")
    migrating = asyncio.create_task(migrate(harness))
    while not await reader.fetchval(WAITING.format("relation")):
        assert not migrating.done()
        await asyncio.sleep(0.01)
    opening = asyncio.create_task(open_of_this_release(harness))
    while not (opening.done() or await reader.fetchval(WAITING.format("advisory"))):
        await asyncio.sleep(0.01)
    await reader.close()
    assert (await migrating)[-1] == f"{NEXT:04} contract: notes"
    with pytest.raises(LedgerIncompatible, match=f"from version {NEXT}, and this Skyferry knows {HISTORY.known}"):
        await opening


async def test_a_program_connects_while_a_newer_release_expands_further(
    harness: PostgresHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To build an index of a large ledger takes hours, and the older workers of a fleet continue meanwhile."""
    monkeypatch.setattr(schema, "LOCKED", "600s")
    later = make_later_history(
        LATER[0], (f"{NEXT + 1:04}-expand-more.sql", "ALTER TABLE @schema.identities ADD COLUMN n bigint;")
    )
    await (await open_of_this_release(harness)).close()
    reader = await harness.pool().connect()
    await reader.execute(f"BEGIN; LOCK TABLE {harness.schema}.identities IN ACCESS SHARE MODE")
    expanding = asyncio.create_task(use(harness, lambda db: schema.ensure_schema(db, harness.schema, later)))
    while not await reader.fetchval(WAITING.format("relation")):
        assert not expanding.done()
        await asyncio.sleep(0.01)
    worker = asyncio.create_task(open_of_this_release(harness))
    while not (worker.done() or await reader.fetchval(WAITING.format("advisory"))):
        await asyncio.sleep(0.01)
    assert worker.done()
    await finish(await worker, transfer("t"))
    await reader.close()
    await expanding
    await (await worker).close()


@pytest.mark.usefixtures("next_release")
async def test_a_program_without_a_connection_during_a_contraction_is_refused_later(harness: PostgresHarness) -> None:
    """The server was replaced or restarted, so the migration saw no older program. The worker reads the numbers again."""
    worker = await open_of_this_release(harness)
    await finish(worker, transfer("before"))
    await harness.stop_clock()
    await use(harness, lambda db: db.fetch(ENDED.format(THIS)))
    assert (await migrate(harness))[-1] == f"{NEXT:04} contract: notes"
    with suppress(LedgerError):  # its connection has ended
        await worker.claim([transfer("after")])
    with pytest.raises(
        LedgerIncompatible, match=f"from version {NEXT}, and this Skyferry knows {HISTORY.known}"
    ) as found:
        await worker.claim([transfer("after")])
    assert found.value.transient is False  # `run --until-idle` ends
    await worker.close()
