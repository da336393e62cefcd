"""The facts that `doctor` checks of a queue in PostgreSQL. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from skyferry.model import QueueTraits
from skyferry.ports.inspection import QueueFacts, Unknown, Wrong
from skyferry.postgres.address import PostgresAddress

OLDEST = 140000  # server_version_num of the first release that is supported


def inspect(address: PostgresAddress, facts: Mapping[str, Any], traits: QueueTraits) -> QueueFacts:
    """Return the facts from the row of the statement `facts`."""
    made = bool(facts["made"])
    notes = [
        f"PostgreSQL {facts['version']}",
        "TLS" if facts["ssl"] else "without TLS",
        f"schema {address.schema}" + ("" if made else ", made at the first use"),
    ]
    if address.pooler:
        notes.append("behind a pooler: polled, without notifications")
    return QueueFacts(
        endpoint=f"{address.server.shown}/{address.database}",
        who=str(facts["who"]),
        address=Unknown("no provider notifies a database; MinIO's own tables are not read"),
        redrive=None,
        receives=bool(facts["receives"]) if made else bool(facts["creates"]),
        encryption=Unknown("the disks of the server are not visible from here"),
        senders=Unknown("any role with INSERT"),
        traits=traits,
        notes=tuple(notes),
        wrong=tuple(_find_faults(facts)),
    )


def _find_faults(facts: Mapping[str, Any]) -> Iterator[Wrong]:
    if facts["number"] < OLDEST:
        yield Wrong(f"PostgreSQL {facts['version']} is too old", "Use PostgreSQL 14 or newer.")
    if facts["standby"]:
        yield Wrong("the server is a read-only standby", "List all servers of the cluster in the URL.")
    elif not facts["made"] and not facts["creates"]:
        yield Wrong("the schema is missing, and the role may not create it", "Grant CREATE on the database once.")
    if facts["fsync"] != "on":
        yield Wrong("fsync is off: a power failure can destroy the database", "Set fsync = on.")
    if facts["synchronous"] == "off":
        yield Wrong(
            "synchronous_commit is off: a crash loses the messages sent last",
            "Set synchronous_commit = on for the role.",
        )
