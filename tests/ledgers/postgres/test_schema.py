"""The schema of a ledger in PostgreSQL: two releases on one schema, steps that are interrupted, and rights that are missing."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.ledgers.postgres.old_program import OldProgram, ProgramOfVersion4, make_schema
from tests.ledgers.postgres.places import PostgresHarness

from skyferry.errors import LedgerError, LedgerIncompatible
from skyferry.ledgers.postgres import maintenance, status
from skyferry.ledgers.postgres.database import HISTORY
from skyferry.ledgers.postgres.ledger import open_ledger
from skyferry.ledgers.postgres.maintenance import PostgresLedgerMaintenance
from skyferry.model import State
from skyferry.ports import Settled
from skyferry.postgres import schema as steps_of_schema
from skyferry.postgres.schema import complete_statement
from skyferry.sql import load_statements
from skyferry.sql.schema_steps import SchemaHistory, order_steps
from skyferry.testing.ledger.harness import claim, done, finish, settle, transfer
from skyferry.testing.servers import PostgresServer

NEXT = HISTORY.known + 1
QUERIES = load_statements("skyferry.ledgers.postgres", "queries.sql")
ADVANCE = "SELECT setval(pg_get_serial_sequence('{}.transfers', 'serial'), {})"
LATER = (
    (
        f"{NEXT:04}-expand-notes.sql",
        "CREATE TABLE @schema.notes (n bigint); ALTER TABLE @schema.places ADD COLUMN n bigint;",
    ),
    (f"{NEXT:04}-contract-notes.sql", "DROP TABLE @schema.identities;"),
)


def make_later_history(*files: tuple[str, str]) -> SchemaHistory:
    """Return the steps of the release after this one."""
    steps = (*HISTORY.steps, *order_steps(files, first=NEXT))
    return SchemaHistory("ledger", "transfers", LedgerIncompatible, steps)


@pytest.fixture
async def harness(postgres_server: PostgresServer) -> AsyncIterator[PostgresHarness]:
    """Ledgers in a database without any other client."""
    harness = PostgresHarness(postgres_server, postgres_server.create_database())
    yield harness
    await harness.close()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> SchemaHistory:
    """The next release, for `ledger migrate`; ledgers that are opened are of this release."""
    history = make_later_history(*LATER)
    monkeypatch.setattr(maintenance, "HISTORY", history)
    monkeypatch.setattr(status, "HISTORY", history)
    return history


def maintain(harness: PostgresHarness, user: str = "", password: str = "") -> PostgresLedgerMaintenance:
    return PostgresLedgerMaintenance(
        lambda: harness.pool(user, password, f"skyferry ledger {NEXT}"),
        lambda: open_ledger(harness.pool(), "rebuild", 30.0),
    )


async def migrate(harness: PostgresHarness) -> list[str]:
    return [step async for step in maintain(harness).migrate()]


async def use(harness: PostgresHarness, call: Callable[[Any], Awaitable[Any]]) -> Any:
    pool = harness.pool()
    try:
        return await pool.run(call)
    finally:
        await pool.close()


async def execute(harness: PostgresHarness, sql: str) -> None:
    await use(harness, lambda db: db.execute(sql))


async def read_comment(harness: PostgresHarness) -> str:
    query = f"SELECT obj_description('{harness.schema}.transfers'::regclass, 'pg_class')"
    return str(await use(harness, lambda db: db.fetchval(query)))


@pytest.mark.parametrize("release", [OldProgram, ProgramOfVersion4])
async def test_a_release_works_beside_an_older_one(harness: PostgresHarness, release: type[OldProgram]) -> None:
    """In one schema, which the newer one expands; each settles what it has claimed, and fences of a key only grow."""
    await release.make_schema(harness)
    old = release(harness)
    await old.enter("old")
    first = transfer("first")
    fences = [await old.claim(first)]
    new = await harness.open("new")
    [held] = await claim(new, transfer("second"))
    for number in range(3):
        last = first if number == 0 else transfer(f"old {number}", first.key)
        if number:
            fences.append(await old.claim(last))
        await old.settle(last, fences[-1], done(held))
        [again] = await claim(new, transfer(f"new {number}", first.key))
        fences.append(again.fence)
        assert await settle(new, again, done(again))
    assert await settle(new, held, done(held))
    late = release(harness)
    await late.enter("of the older release, and started later")
    fences.append(await late.claim(transfer("late", first.key)))
    assert fences == sorted(set(fences))
    assert await new.count_transfers() == {state: {"claimed": 1, "done": 7}.get(state, 0) for state in State}
    assert {row.state for row in [await new.get_transfer(first.id)] if row} == {State.DONE}
    assert await maintain(harness).find_damage() == []
    for each in (old, late):
        await each.close()


INDEXES = """SELECT indexrelname FROM pg_stat_user_indexes WHERE relname = 'transfers' AND schemaname = $1 ORDER BY 1"""


async def test_claims_go_on_while_a_schema_is_contracted(harness: PostgresHarness) -> None:
    """Statements that connections have prepared before follow; no transfer is added twice, and each is found by its id."""
    ledger = await harness.open("one")
    [before] = await claim(ledger, transfer("before"))
    await finish(ledger, transfer("done"))
    await harness.contract()
    assert await settle(ledger, before, done(before))
    await finish(ledger, transfer("after"))
    for name in ("before", "done", "after"):
        assert await ledger.claim([transfer(name)]) == [Settled(transfer(name).id, State.DONE)]
        assert (row := await ledger.get_transfer(transfer(name).id)) is not None
        assert row.state is State.DONE
    assert await maintain(harness).find_damage() == []
    indexes = [row["indexrelname"] for row in await use(harness, lambda db: db.fetch(INDEXES, harness.schema))]
    assert "transfers_pkey" not in indexes
    assert {"transfers_by_destination", "transfers_by_id"} <= {*indexes}


async def test_a_transfer_is_found_in_any_block_of_ids(harness: PostgresHarness) -> None:
    """Blocks without transfers, of which all were pruned, are passed over."""
    ledger = await harness.open("one")
    await harness.contract()
    for number in range(4):
        await execute(harness, ADVANCE.format(harness.schema, 1 + 100_000 * number))
        await finish(ledger, transfer(f"{number}"))
    for number in range(4):
        assert await ledger.get_transfer(transfer(f"{number}").id) is not None
    assert await ledger.get_transfer(transfer("no such").id) is None


async def test_indexes_may_be_built_before_the_step(harness: PostgresHarness) -> None:
    """With the statements of the documentation, which block no worker; the steps find them."""
    await make_schema(harness)
    page = Path(__file__).parents[3] / "docs" / "operations" / "upgrades.md"
    statements = re.findall(r"^CREATE (?:UNIQUE )?INDEX CONCURRENTLY .*;$", page.read_text(), re.MULTILINE)
    assert len(statements) == 2
    for statement in statements:
        await execute(harness, statement.replace(" skyferry.", f" {harness.schema}."))
    numbers = "SELECT indexrelid FROM pg_stat_user_indexes WHERE relname = 'transfers' AND schemaname = $1"
    before = {row["indexrelid"] for row in await use(harness, lambda db: db.fetch(numbers, harness.schema))}
    await harness.contract()
    after = {row["indexrelid"] for row in await use(harness, lambda db: db.fetch(numbers, harness.schema))}
    assert after < before
    await finish(await harness.open("one"), transfer("t"))


async def test_an_index_that_is_invalid_is_built_again(harness: PostgresHarness) -> None:
    """A statement of the documentation that failed has left it. It would be used by no statement."""
    await make_schema(harness)
    named = f"'{harness.schema}.transfers_by_destination'::regclass, '{harness.schema}.transfers_by_id'::regclass"
    for columns in (
        "transfers_by_destination ON {0}.transfers (place, id)",
        "transfers_by_id ON {0}.transfers (place)",
    ):
        await execute(harness, f"CREATE UNIQUE INDEX {columns.format(harness.schema)}")
    await execute(harness, f"UPDATE pg_index SET indisvalid = false WHERE indexrelid IN ({named})")
    await harness.contract()
    valid = f"SELECT bool_and(indisvalid) FROM pg_index WHERE indexrelid IN ({named})"
    assert await use(harness, lambda db: db.fetchval(valid))
    await finish(await harness.open("one"), transfer("t"))


async def test_a_transfer_is_found_by_an_index_before_a_contraction(harness: PostgresHarness) -> None:
    """Without the index of blocks, the first and the last block would be found by reading the whole table, twice."""
    ledger = await harness.open("one")
    await ledger.claim([transfer(f"{number}") for number in range(500)])
    get = complete_statement(QUERIES["get"], harness.schema).replace("$1", f"'\\x{transfer('7').id}'")
    await execute(harness, f"ANALYZE {harness.schema}.transfers")
    plan = await use(harness, lambda db: db.fetch(f"EXPLAIN ANALYZE {get}"))
    assert not [line for [line] in plan if "Seq Scan" in line and "never executed" not in line]
    assert await ledger.get_transfer(transfer("7").id) is not None


async def test_a_newer_schema_that_is_compatible_is_used(harness: PostgresHarness) -> None:
    await harness.open("one")
    comment = (
        f"COMMENT ON TABLE {harness.schema}.transfers IS 'skyferry ledger {NEXT}, compatible from {HISTORY.known}'"
    )
    await use(harness, lambda db: db.execute(comment))
    await finish(await harness.open("two"), transfer("t"))
    found = await maintain(harness).read_status()
    assert (found.version, found.compatible_from, found.pending) == (NEXT, HISTORY.known, ())
    assert found.transfers == {state: int(state is State.DONE) for state in State}
    assert found.engine.startswith("PostgreSQL 1")
    assert found.size > 0


@pytest.mark.parametrize(
    ("comment", "says"),
    [
        ("skyferry ledger 99", "from version 99, and this Skyferry knows"),
        ("skyferry ledger 99, compatible from 98", r"from version 98, and this Skyferry knows.*Update Skyferry"),
        ("skyferry queues 1", "without the version of Skyferry's ledger"),
        ("", "without the version of Skyferry's ledger.*Restore the comment"),
    ],
)
async def test_a_schema_that_does_not_fit_is_refused(harness: PostgresHarness, comment: str, says: str) -> None:
    """Also by `ledger migrate`. One that is too new is described by `ledger status`."""
    await harness.open("one")
    await use(harness, lambda db: db.execute(f"COMMENT ON TABLE {harness.schema}.transfers IS '{comment}'"))
    with pytest.raises(LedgerIncompatible, match=says):
        await harness.open("two")
    with pytest.raises(LedgerIncompatible, match=says):
        await migrate(harness)
    if "99" in comment:
        found = await maintain(harness).read_status()
        assert (found.version, found.transfers) == (99, None)


async def test_a_migration_says_each_step_once(harness: PostgresHarness, later: SchemaHistory) -> None:
    """Of two at the same time one waits, no step is applied twice, and a third has nothing to do."""
    await make_schema(harness)
    pending = (await maintain(harness).read_status()).pending
    assert pending == tuple(map(str, later.steps[1:]))
    await harness.stop_clock()
    both = await asyncio.gather(migrate(harness), migrate(harness))
    assert sorted([*both[0], *both[1]]) == sorted(pending)
    assert await migrate(harness) == []
    assert await read_comment(harness) == f"skyferry ledger {NEXT}, compatible from {NEXT}"


async def test_a_migration_makes_a_schema_that_is_missing(harness: PostgresHarness) -> None:
    assert not await maintain(harness).exists()
    assert await migrate(harness) == [str(step) for step in HISTORY.steps]
    assert await maintain(harness).exists()


@pytest.mark.usefixtures("later")
async def test_a_contraction_waits_for_older_programs(harness: PostgresHarness) -> None:
    """Expansions do not."""
    await harness.stop_clock()
    old = OldProgram(harness)
    await make_schema(harness)
    await old.enter("old")
    this = await open_ledger(harness.pool(application=f"skyferry ledger {HISTORY.known}"), "this", 30.0)
    for name, step in (("skyferry", "ids"), (f"skyferry ledger {HISTORY.known}", "notes")):
        with pytest.raises(
            LedgerError,
            match=rf"contract: {step} waits for older programs: 1 connection of {name} by \w+ from 127\.0\.0\.1",
        ):
            await migrate(harness)
        await (old.close() if name == "skyferry" else this.close())
    assert await migrate(harness) == [f"{NEXT:04} contract: notes"]
    with pytest.raises(LedgerIncompatible):
        await harness.open("this")


async def test_a_contraction_waits_for_what_a_pooler_keeps(harness: PostgresHarness) -> None:
    """No name says what uses such a connection, so there is a way to end it; stopping the workers alone would not."""
    await make_schema(harness)
    await harness.stop_clock()
    kept = await harness.pool(application="").connect()
    with pytest.raises(LedgerError, match=r"1 connection without a name by .*stop all workers behind it, restart it"):
        await migrate(harness)
    await kept.close()
    assert await migrate(harness) == [str(step) for step in HISTORY.steps if step.contracts]


KILLED = """
import asyncio, sys
from tests.ledgers.postgres.places import PostgresHarness
from tests.ledgers.postgres.test_schema import make_later_history, NEXT
from skyferry.postgres.schema import ensure_schema
from skyferry.testing.servers.engines.postgres import PostgresServer

async def main():
    server = PostgresServer(int(sys.argv[1]), None, None)
    harness = PostgresHarness(server, sys.argv[2], sys.argv[3])
    slow = f"CREATE TABLE @schema.notes (n bigint); SELECT pg_sleep(600);"
    history = make_later_history((f"{NEXT:04}-expand-notes.sql", slow))
    await harness.pool().run(lambda db: ensure_schema(db, harness.schema, history))

asyncio.run(main())
"""
SLEEPING = (
    "SELECT pid FROM pg_stat_activity WHERE query LIKE '%notes%pg_sleep(600)%' "
    "AND datname = current_database() AND pid <> pg_backend_pid()"
)


async def test_a_killed_migration_leaves_the_step_to_the_next(
    harness: PostgresHarness, postgres_server: PostgresServer, later: SchemaHistory
) -> None:
    """Killed by the system in the middle of a step; the server ends the session once it notices."""
    await harness.open("one")
    await harness.opened.pop().close()
    command = [sys.executable, "-c", KILLED, str(postgres_server.port), harness.database, harness.schema]
    with subprocess.Popen(command) as process:
        while not (pid := await use(harness, lambda db: db.fetchval(SLEEPING))):
            assert process.poll() is None
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    await use(harness, lambda db: db.fetchval("SELECT pg_terminate_backend($1, 10000)", pid))
    await harness.stop_clock()
    assert await migrate(harness) == [str(step) for step in later.steps[-3:]]


async def test_a_step_does_not_block_the_workers_for_long(
    harness: PostgresHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a backup keeps a table, the step waits for its lock in short turns, and then says what is in its way."""
    monkeypatch.setattr(steps_of_schema, "LOCKED", "50ms")
    monkeypatch.setattr(steps_of_schema, "PAUSE", 0.0)
    history = make_later_history(*LATER)
    ledger, backup = await harness.open("one"), harness.pool()

    async def work_meanwhile(db: Any) -> None:
        async with db.transaction():
            await db.execute(f"LOCK TABLE {harness.schema}.places IN ACCESS SHARE MODE")
            upgrade = asyncio.create_task(
                use(harness, lambda connection: steps_of_schema.ensure_schema(connection, harness.schema, history))
            )
            for number in range(5):
                await finish(ledger, transfer(f"{number}"))
            with pytest.raises(
                LedgerIncompatible, match=r"expand: notes cannot be applied: .*lock timeout.*\(Wait for the end"
            ):
                await upgrade

    await backup.run(work_meanwhile)
    await backup.close()
    assert await use(harness, lambda db: steps_of_schema.ensure_schema(db, harness.schema, history)) is None
    assert await read_comment(harness) == f"skyferry ledger {NEXT}, compatible from 1"
    await finish(ledger, transfer("after"))


async def test_a_role_without_rights_is_named_with_the_way_out(
    harness: PostgresHarness, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker may use the tables, and a role that owns them applies the steps."""
    role, secret = f"worker_{os.getpid()}", "of the worker"
    where = harness.database
    postgres_server.run(f"CREATE ROLE {role} LOGIN PASSWORD '{secret}'", where)
    says = rf"role {role} may not apply step 0001 expand: tables: permission denied for database.*CREATE.*ledger migrate --create"
    with pytest.raises(LedgerIncompatible, match=says):
        await open_ledger(harness.pool(role, secret), "worker", 30.0)
    await migrate(harness)
    s = harness.schema
    grants = f"""GRANT USAGE ON SCHEMA {s} TO {role}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {s} TO {role};
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA {s} TO {role};
    ALTER DEFAULT PRIVILEGES IN SCHEMA {s} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role};
    ALTER DEFAULT PRIVILEGES IN SCHEMA {s} GRANT USAGE ON SEQUENCES TO {role}"""
    postgres_server.run(grants, where)
    worker = await open_ledger(harness.pool(role, secret), "worker", 30.0)
    await finish(worker, transfer("t"))
    await worker.close()
    history = make_later_history(*LATER)
    owner = f"with the role {postgres_server.user}, which owns the tables"
    for steps, missing in (
        (history, "permission denied for schema"),
        (
            make_later_history((LATER[0][0], "ALTER TABLE @schema.places ADD COLUMN n bigint;")),
            "must be owner of table places",
        ),
    ):
        pool = harness.pool(role, secret)
        with pytest.raises(
            LedgerIncompatible, match=rf"role {role} may not apply step {NEXT:04}.*{re.escape(missing)}.*{owner}"
        ):
            await pool.run(partial(steps_of_schema.ensure_schema, schema=harness.schema, history=steps))
        await pool.close()
    monkeypatch.setattr(maintenance, "HISTORY", history)
    async for step in maintain(harness).migrate():
        if "expand" in step:
            break
    pool = harness.pool(role, secret)
    await pool.run(lambda db: db.execute(f"INSERT INTO {s}.notes VALUES (1)"))
    await pool.close()
    await use(harness, lambda db: db.execute(f"DROP OWNED BY {role}; DROP ROLE {role}"))
