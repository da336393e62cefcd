"""Settings of a server that break the promises of queues and ledgers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from skyferry.ports.inspection import Wrong
from skyferry.postgres.pool import Connection

OLDEST = 140000  # server_version_num of the first release that is supported
NAMES = (
    "server_version",
    "server_version_num",
    "transaction_read_only",
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "zero_damaged_pages",
)
DURABLE = ("fsync", "full_page_writes", "synchronous_commit")


async def find_unsafe_settings(connection: Connection) -> list[Wrong]:
    """Return the settings that need a correction."""
    rows = await connection.fetch("SELECT name, setting FROM pg_settings WHERE name = ANY($1::text[])", NAMES)
    return list(check_server_settings(dict(map(tuple, rows))))


def check_server_settings(found: Mapping[str, str]) -> Iterator[Wrong]:
    """Yield what is wrong with the values of NAMES. Pure."""
    if int(found["server_version_num"]) < OLDEST:
        yield Wrong(f"PostgreSQL {found['server_version']} is too old", "Use PostgreSQL 14 or newer.")
    if found["transaction_read_only"] == "on":
        yield Wrong("the server is a read-only standby", "List all servers of the cluster in the URL.")
    for name in DURABLE:
        if found[name] == "off":
            yield Wrong(f"{name} is off: a crash loses what the server has confirmed", f"Set {name} = on.")
    if found["zero_damaged_pages"] == "on":
        yield Wrong("zero_damaged_pages is on: records may vanish", "Set zero_damaged_pages = off.")
