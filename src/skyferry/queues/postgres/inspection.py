"""The facts that `doctor` checks of a queue in PostgreSQL. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skyferry.model import QueueTraits
from skyferry.ports.inspection import QueueFacts, Unknown, Wrong
from skyferry.postgres.address import PostgresAddress
from skyferry.postgres.schema import SchemaState


def inspect(
    address: PostgresAddress, facts: Mapping[str, Any], state: SchemaState, wrong: Sequence[Wrong], traits: QueueTraits
) -> QueueFacts:
    """Return the facts from the row of the statement `facts`, the tables, and what is `wrong` with the server and the rights."""
    fault = None if facts["standby"] else state.find_fault(facts["who"], "a worker once")
    notes = [
        f"PostgreSQL {facts['version']}",
        "TLS" if facts["ssl"] else "without TLS",
        state.note,
    ]
    if address.pooler:
        notes.append("behind a pooler: polled, without notifications")
    return QueueFacts(
        endpoint=f"{address.server.shown}/{address.database}",
        who=str(facts["who"]),
        address=Unknown("no provider notifies a database; MinIO's own tables are not read"),
        redrive=None,
        receives=bool(facts["receives"]) if state.version else state.may_apply,
        encryption=Unknown("the disks of the server are not visible from here"),
        senders=Unknown("any role with INSERT"),
        traits=traits,
        notes=tuple(notes),
        wrong=(*wrong, *([fault] if fault else [])),
    )
