"""The records that a batch of claims or settlements reads, and the counters that it changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import field

import orjson

from skyferry.frozen import dataclass
from skyferry.ledgers import codec
from skyferry.ledgers.codec import NUMBER, STATES
from skyferry.model import Placement, Progress, State, Transfer
from skyferry.sql import load_statements
from skyferry.sqlite.statements import read_rows, write_rows

SQL = load_statements(__package__, "batch.sql")
CLAIMED = NUMBER[State.CLAIMED]
NUMBERS = ("fence", "place", "serial")  # names of the last numbers used, as the statement sorts them


@dataclass(slots=True)
class TransferRecord:
    """A known transfer."""

    serial: int
    state: int = CLAIMED
    reason: str = ""
    due_at: int | None = None
    burned: int = 0
    lost: int = 0
    owner: int = 0


@dataclass(slots=True)
class DestinationRecord:
    """A known destination with its lease."""

    id: int
    owner: int = 0  # 0 = not leased
    fence: int = 0
    until: int = 0
    placement: Placement | None = None
    uploads: tuple[Progress, ...] = ()


@dataclass(slots=True)
class Snapshot:
    """The records of a batch."""

    rows: dict[str, TransferRecord] = field(default_factory=dict)  # by transfer id
    destinations: dict[tuple[str, str], DestinationRecord] = field(default_factory=dict)  # by store and key


def read_snapshot(db: sqlite3.Connection, transfers: Sequence[Transfer]) -> Snapshot:
    """Read the records of these transfers and their destinations."""
    known = Snapshot()
    found = read_rows(db, SQL["look"], [(*codec.split_id(t.id), t.key, t.store) for t in transfers])
    for t, columns in zip(transfers, found, strict=True):
        if columns[0] is not None and t.id not in known.rows:
            known.rows[t.id] = TransferRecord(*columns[:7])
        if columns[7] is not None and (t.store, t.key) not in known.destinations:
            id_, owner, fence, until, packed = columns[7:]
            placement = codec.unpack_placement(t.store, t.key, packed) if packed else None
            known.destinations[t.store, t.key] = DestinationRecord(id_, owner or 0, fence or 0, until or 0, placement)
    return known


class Counters:
    """The counters during one batch: numbers to use next, and changes of the states' counts."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._before = orjson.loads(db.execute(SQL["last"]).fetchone()[0])
        self.fence, self.destination, self.serial = self._before
        self.states = [0] * len(STATES)

    def save(self, db: sqlite3.Connection) -> None:
        """Write the changes."""
        after = (self.fence, self.destination, self.serial)
        used = {name: now - self._before[i] for i, (name, now) in enumerate(zip(NUMBERS, after, strict=True))}
        change_counters(db, used | {f"state {i}": change for i, change in enumerate(self.states)})


def change_counters(db: sqlite3.Connection, changes: Mapping[str, int]) -> None:
    """Add to counters, by name."""
    write_rows(db, SQL["count"], [item for item in changes.items() if item[1]])
