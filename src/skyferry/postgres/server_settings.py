"""The settings of a server that queues and ledgers rely on, and the rights of the role."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from skyferry.frozen import dataclass
from skyferry.ports.inspection import Wrong
from skyferry.postgres.errors import UTF8
from skyferry.postgres.pool import Connection

OLDEST = 140000  # server_version_num of the first release that is supported
DURABLE = ("fsync", "full_page_writes", "synchronous_commit")
# The least of the server that do not end what Skyferry does, in milliseconds; 0 = none
TIMEOUTS = {
    "statement_timeout": 30_000,
    "transaction_timeout": 30_000,
    "lock_timeout": 1_000,
    "idle_in_transaction_session_timeout": 1_000,
    "idle_session_timeout": 10_000,
}
NAMES = (
    *("server_version", "server_version_num", "server_encoding", "transaction_read_only", "in_hot_standby"),
    *("zero_damaged_pages", "max_connections", "superuser_reserved_connections", *DURABLE, *TIMEOUTS),
    "synchronous_standby_names",
)
ENCODINGS = ("UTF8", "SQL_ASCII")  # that keep any key; the second keeps bytes as they are
SPARE = 5  # connections of one worker: to the ledger, and one that listens
CONNECTIONS = "connections"  # in use, among the values of NAMES
CONFIRMING = "confirming"  # standbys that confirm commits, or whose state the role may not read
_CONNECTIONS = """SELECT (SELECT sum(numbackends) FROM pg_stat_database) AS connections,
    (SELECT count(*) FROM pg_stat_replication WHERE coalesce(sync_state, 'sync') IN ('sync', 'quorum')) AS confirming,
    CASE WHEN rolsuper THEN -1 ELSE rolconnlimit END AS role_limit,
    (SELECT count(*) FROM pg_stat_activity WHERE usename = current_user) AS role_connections,
    CASE WHEN rolsuper THEN -1 ELSE datconnlimit END AS database_limit,
    (SELECT numbackends FROM pg_stat_database WHERE datname = current_database()) AS database_connections
FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()"""
_UNLOGGED = """SELECT format('%I.%I', $1::text, relname) FROM pg_class
WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND relname = ANY($2::text[]) AND relpersistence = 'u'
ORDER BY relname"""
_FACTS = """SELECT current_user, current_setting('server_version'),
    coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
    pg_is_in_recovery(), pg_backend_pid(),
    extract(epoch FROM clock_timestamp())::float8"""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """The report of a server about itself and this connection."""

    who: str
    version: str
    tls: bool
    is_standby: bool
    is_pooled: bool  # there is a pooler between
    skew: float  # seconds by which its clock is ahead


async def read_server_facts(connection: Connection) -> ServerFacts:
    """Return the facts of this connection. A pooler is noticed by the process: it names another than the server."""
    before = time.time()
    who, version, tls, standby, process, now = await connection.fetchrow(_FACTS)
    here = (before + time.time()) / 2
    return ServerFacts(who, version, tls, standby, process != connection.get_server_pid(), now - here)


async def find_unsafe_settings(connection: Connection, schema: str, tables: Sequence[str]) -> list[Wrong]:
    """Return the settings that need a correction, and the UNLOGGED ones of `tables`, of which some may not exist yet."""
    rows = await connection.fetch("SELECT name, setting FROM pg_settings WHERE name = ANY($1::text[])", NAMES)
    used = await connection.fetchrow(_CONNECTIONS)
    counts = {name: str(value or 0) for name, value in (used or {CONNECTIONS: 0}).items()}
    unlogged = await connection.fetch(_UNLOGGED, schema, tables)
    lost = [
        Wrong(f"{each} is UNLOGGED: a crash empties it", f"ALTER TABLE {each} SET LOGGED;", loses=True)
        for (each,) in unlogged
    ]
    return [*check_server_settings({**dict(map(tuple, rows)), **counts}), *lost]


def check_server_settings(found: Mapping[str, str]) -> Iterator[Wrong]:
    """Yield what is wrong with the values of NAMES, CONNECTIONS and CONFIRMING. Pure."""
    waits = found["synchronous_commit"] not in ("off", "local")
    if int(found["server_version_num"]) < OLDEST:
        yield Wrong(f"PostgreSQL {found['server_version']} is too old", "Use PostgreSQL 14 or newer.")
    if found["transaction_read_only"] == "on" and found.get("in_hot_standby") == "off":
        what = "default_transaction_read_only is on for the role, the database or the server"
        yield Wrong(f"{what}: nothing can be recorded", "Set default_transaction_read_only = off there.")
    elif found["transaction_read_only"] == "on":
        yield Wrong("the server is a read-only standby", "List all servers of the cluster in the URL.")
    if (encoding := found.get("server_encoding", "UTF8")) not in ENCODINGS:
        what = f"the encoding of the database is {encoding}: keys with other characters cannot be recorded"
        yield Wrong(what, UTF8)
    for name in DURABLE:
        if found[name] == "off":
            yield Wrong(f"{name} is off: a crash loses what the server has confirmed", f"Set {name} = on.", loses=True)
    if found["zero_damaged_pages"] == "on":
        yield Wrong("zero_damaged_pages is on: records may vanish", "Set zero_damaged_pages = off.", loses=True)
    for name, least in TIMEOUTS.items():
        if 0 < int(found.get(name, "0")) < least:
            ended = "connections" if name == "idle_session_timeout" else "statements"
            yield Wrong(
                f"{name} is {found[name]} ms: the server ends {ended} of Skyferry",
                f"Run: ALTER ROLE … SET {name} = '{least // 1000}s', or 0.",
            )
    if (names := found.get("synchronous_standby_names")) and found.get(CONFIRMING) == "0" and waits:
        what = f"synchronous_standby_names is {names!r}, and no such standby is connected: each commit waits for one"
        yield Wrong(what, "Start the standby, or set synchronous_standby_names = ''.")
    yield from _check_connections(found)


def _check_connections(found: Mapping[str, str]) -> Iterator[Wrong]:
    most = int(found["max_connections"]) - int(found["superuser_reserved_connections"])
    if most - (used := int(found[CONNECTIONS])) < SPARE:
        yield Wrong(
            f"{used} of {most} connections are in use, and a worker needs up to {SPARE}",
            "Raise max_connections, or put a pooler in front.",
        )
    for whose in ("role", "database"):
        limit, used = int(found.get(f"{whose}_limit", "-1")), int(found.get(f"{whose}_connections", "0"))
        if 0 <= limit < used + SPARE:
            yield Wrong(
                f"{used} of {limit} connections of the {whose} are in use, and a worker needs up to {SPARE}",
                f"Raise it: ALTER {whose.upper()} … CONNECTION LIMIT …; -1 is no limit.",
            )
