"""The records that a batch of claims or settlements reads, the counts that it changes, and numbers of new records.

A process reserves numbers of fences, destinations and transfers in blocks, so that few claims write a counter.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Literal

from skyferry.frozen import dataclass
from skyferry.ledgers import codec
from skyferry.ledgers.codec import NUMBER
from skyferry.model import Placement, Progress, State, Transfer
from skyferry.sql import load_statements
from skyferry.sqlite.statements import read_rows, write_rows

SQL = load_statements(__package__, "batch.sql")
CLAIMED = NUMBER[State.CLAIMED]
BLOCK = 1024  # numbers reserved at once
Kind = Literal["fence", "place", "serial"]


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


def change_counts(db: sqlite3.Connection, changes: Mapping[int, int]) -> None:
    """Add to the counts of transfers by state. Those that are claimed are counted when they are read."""
    changed = [(f"state {state}", change) for state, change in changes.items() if change and state != CLAIMED]
    write_rows(db, SQL["count"], changed)


@dataclass(slots=True)
class _Block:
    """Reserved numbers, of which some are used."""

    last: int = 0  # the last one used
    end: int = 0  # the last one reserved


class Numbers:
    """The numbers of one process. None is given out twice.

    Fences only grow, whatever the process: a block is dropped once another process has reserved one. Other numbers follow the
    order of creation within a process only.
    """

    def __init__(self) -> None:
        self._rollbacks = 0
        self._blocks: dict[Kind, _Block] = {}
        self._checked = False  # in this batch: no other process has reserved fences

    def begin(self, rollbacks: int) -> None:
        """Begin a batch in a write transaction. `rollbacks` counts those that failed: one may have lost a reservation."""
        if rollbacks != self._rollbacks:
            self._rollbacks = rollbacks
            self._blocks.clear()
        self._checked = False

    def take_fence(self, db: sqlite3.Connection) -> int:
        """Return a fence that is above all others."""
        if not self._checked:
            self._checked = True
            (newest,) = db.execute(SQL["newest_fence"]).fetchone()
            if (block := self._blocks.get("fence")) and block.end != newest:
                del self._blocks["fence"]
        return self.take(db, "fence")

    def take(self, db: sqlite3.Connection, kind: Kind) -> int:
        """Return a new number."""
        block = self._blocks.get(kind)
        if block is None or block.last == block.end:
            (end,) = db.execute(SQL["reserve"], {"name": kind, "block": BLOCK}).fetchone()
            block = self._blocks[kind] = _Block(end - BLOCK, end)
        block.last += 1
        return block.last
