"""The schema, the counts and the size of a ledger in PostgreSQL, its server, and the programs that use it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from skyferry.errors import LedgerError
from skyferry.ledgers.codec import STATES
from skyferry.ledgers.postgres.database import HISTORY
from skyferry.ports.inspection import LedgerFacts, Wrong
from skyferry.ports.ledger import LedgerStatus
from skyferry.postgres.address import PostgresAddress
from skyferry.postgres.pool import Connection
from skyferry.postgres.schema import SchemaState, complete_statement, read_schema_version
from skyferry.postgres.server_settings import ServerFacts
from skyferry.sql import load_statements
from skyferry.sql.schema_steps import SchemaStep

SQL = load_statements(__package__, "maintenance.sql")
MIGRATE = ("`skyferry ledger migrate --create`", "`skyferry ledger migrate`")  # if it is missing, if it is older
LARGE = 2**30  # bytes of a ledger from which images of pages may be most of the log
WITHOUT_LZ4 = ("off", "on", "pglz")  # "on" is pglz, which takes several times the CPU of lz4
NAMELESS = "without a name"  # as in the statement `older_programs`
BEHIND_POOLER = (
    " A pooler gives its connections no name, and keeps them when programs end: stop all workers behind it, restart it, "
    "and use a URL of the server itself."
)
COUNTS = load_statements(__package__, "queries.sql")["counts"]


async def read_status(connection: Connection, schema: str) -> LedgerStatus:
    """See `LedgerMaintenance.read_status`."""
    at = await read_schema_version(connection, schema, HISTORY)
    transfers = None
    if at.number > 0 and at.compatible_from <= HISTORY.known:
        counts = dict(await connection.fetch(complete_statement(COUNTS, schema)))
        transfers = {state: counts.get(number, 0) for number, state in enumerate(STATES)}
    server, size = await connection.fetchrow(SQL["size"], schema)
    pending = tuple(map(str, HISTORY.list_pending(at)))
    return LedgerStatus(
        f"PostgreSQL {server}", at.number, at.compatible_from, HISTORY.known, pending, transfers, int(size)
    )


async def check_older_programs(connection: Connection, step: SchemaStep) -> None:
    """Raise LedgerError before a contraction if a connection to the database is of an older program, or has no name."""
    if not step.contracts:
        return
    older = [row["client"] for row in await connection.fetch(SQL["older_programs"], step.number)]
    if older:
        hint = "Stop or update them, then run `skyferry ledger migrate` again."
        if any(NAMELESS in client for client in older):
            hint += BEHIND_POOLER
        raise LedgerError(f"step {step} waits for older programs: {', '.join(older)}", hint=hint)


async def find_costly_settings(connection: Connection, schema: str) -> list[Wrong]:
    """Return the settings that make a large ledger slower than it could be."""
    found = await connection.fetchrow(SQL["log"], schema)
    return list(check_log(*found)) if found else []


def check_log(compression: str, size: int) -> Iterator[Wrong]:
    """Yield what is wrong with `wal_compression` for a schema of so many bytes, if the server knows lz4. Pure."""
    if size >= LARGE and compression in WITHOUT_LZ4:
        gib = size / 2**30
        what = f"wal_compression is {compression}, and the ledger has {gib:,.1f} GiB: most of its log may be images of pages"
        yield Wrong(what, "Set wal_compression = lz4: it may halve the log.")


def describe_server(
    address: PostgresAddress,
    facts: ServerFacts,
    unsafe: Sequence[Wrong],
    state: SchemaState,
    costly: Sequence[Wrong] = (),
) -> LedgerFacts:
    """Return what `doctor` checks. Pure."""
    wrong, doubtful = list(unsafe), list(costly)
    if not facts.is_standby and (fault := state.find_fault(facts.who, MIGRATE[bool(state.version)])):
        wrong.append(fault)
    if facts.is_pooled and not address.pooler:
        hint = "If it gives each transaction another connection, add pooler=transaction to the URL."
        doubtful.append(Wrong("there is a pooler between", hint))
    notes = (
        f"PostgreSQL {facts.version}",
        "TLS" if facts.tls else "without TLS",
        state.note,
    )
    endpoint = f"{address.server.shown}/{address.database}"
    return LedgerFacts(endpoint, facts.who, facts.skew, notes, tuple(wrong), tuple(doubtful))
