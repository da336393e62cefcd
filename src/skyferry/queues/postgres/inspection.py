"""The facts that `doctor` checks of a queue in PostgreSQL. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from skyferry.model import QueueTraits
from skyferry.ports.inspection import QueueFacts, Unknown, Wrong
from skyferry.postgres.address import PostgresAddress


def inspect(
    address: PostgresAddress, facts: Mapping[str, Any], unsafe: Sequence[Wrong], traits: QueueTraits
) -> QueueFacts:
    """Return the facts from the row of the statement `facts`, and the `unsafe` settings of the server."""
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
        wrong=(*unsafe, *_find_faults(facts)),
    )


def _find_faults(facts: Mapping[str, Any]) -> Iterator[Wrong]:
    if not (facts["standby"] or facts["made"]) and not facts["creates"]:
        yield Wrong("the schema is missing, and the role may not create it", "Grant CREATE on the database once.")
