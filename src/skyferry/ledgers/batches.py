"""Claims and settlements on SQLite, as functions of a connection: look at the whole batch, decide, write the whole batch."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from skyferry.ledgers import codec, rules
from skyferry.ledgers.codec import NUMBER, STATES, pack
from skyferry.ledgers.statements import named
from skyferry.model import Claim, Placement, State, Transfer
from skyferry.ports import Dead, DeadLetter, Done, Outcome, Settled, Settlement, Skipped, Wait

SQL = named("work.sql")


@dataclass(slots=True)
class _Row:
    serial: int
    state: State = State.CLAIMED
    reason: str = ""
    due_at: float | None = None
    burned: int = 0
    lost: int = 0
    owner: int | None = None


@dataclass(slots=True)
class _Place:
    id: int
    owner: int | None = None
    fence: int = 0
    until: int = 0
    placement: Placement | None = None


@dataclass(slots=True)
class _Look:
    """What the ledger knows of a batch, and what is to be written for it."""

    rows: dict[str, _Row] = field(default_factory=dict)  # by transfer id
    places: dict[tuple[str, str], _Place] = field(default_factory=dict)  # by store and key
    last: Counter[str] = field(default_factory=Counter)  # serial, place, fence
    counts: Counter[str] = field(default_factory=Counter)  # changes of counters

    def next(self, name: str) -> int:
        self.counts[name] += 1
        return self.last[name] + self.counts[name]

    def moved(self, old: State | None, new: State) -> None:
        if old is not None:
            self.counts[f"state {NUMBER[old]}"] -= 1
        self.counts[f"state {NUMBER[new]}"] += 1


def run(db: sqlite3.Connection, name: str, batch: Sequence[Any], **more: Any) -> None:
    """A statement for a batch, if there is anything in it."""
    if batch:
        db.execute(SQL[name], {"batch": pack(batch), **more})


def count(db: sqlite3.Connection, changes: Mapping[str, int]) -> None:
    """Move the counters."""
    run(db, "count", [item for item in changes.items() if item[1]])


def claim(
    db: sqlite3.Connection, transfers: Sequence[Transfer], me: int, now: float, lease: float
) -> list[Claim | Settled | Wait]:
    """See `Ledger.claim`."""
    look = _look(db, transfers)
    until, at = rules.ticks(now + lease), rules.ticks(now)
    new_places: list[Any] = []
    new_rows: list[Any] = []
    details: list[Any] = []
    taken: dict[int, int] = {}  # lost by serial
    leases: dict[int, int] = {}  # fence by place
    answers: list[Claim | Settled | Wait] = []
    for t in transfers:
        row, place = look.rows.get(t.id), look.places.get((t.store, t.key))
        if refused := _refuse(t.id, row, place, me, now):
            answers.append(refused)
            continue
        if place is None:
            place = look.places[t.store, t.key] = _Place(look.next("place"))
            new_places.append((place.id, codec.to_sql(t.key), t.store))
        if place.owner != me:
            place.owner, place.fence, place.until = me, look.next("fence"), 0
        if place.until < until:
            place.until = until
            leases[place.id] = place.fence
        if row is None:
            row = look.rows[t.id] = _Row(look.next("serial"), owner=me)
            look.moved(None, State.CLAIMED)
            source_key = None if t.source.key == t.key else codec.to_sql(t.source.key)
            new_rows.append((row.serial, *codec.number(t.id), place.id, t.route, source_key))
            details.append((row.serial, codec.pack_transfer(t)))
        elif row.state is not State.CLAIMED or row.owner != me:
            row.lost += row.state is State.CLAIMED
            look.moved(row.state, State.CLAIMED)
            row.state, row.owner = State.CLAIMED, me
            taken[row.serial] = row.lost
        answers.append(Claim(t, place.fence, row.burned + 1, row.lost, place.placement, codec.seconds(place.until)))
    run(db, "add_places", new_places)
    run(db, "add_transfers", new_rows, owner=me, now=at)
    run(db, "add_details", details)
    run(db, "take_transfers", list(taken.items()), owner=me, now=at)
    run(db, "lease", list(leases.items()), owner=me, until=until)
    count(db, look.counts)
    return answers


def _refuse(name: str, row: _Row | None, place: _Place | None, me: int, now: float) -> Settled | Wait | None:
    held = codec.seconds(place.until) if place and place.owner != me else 0.0
    if row is None:
        return rules.busy(name, held, now)
    return rules.refuse(name, row.state, row.reason, row.due_at, held, now)


def renew(db: sqlite3.Connection, claims: Sequence[Claim], until: float) -> list[Claim]:
    """See `Ledger.renew`."""
    held = _held(db, claims)
    run(db, "extend", [place for place in held if place is not None], until=rules.ticks(until))
    return [claim for claim, place in zip(claims, held, strict=True) if place is None]


def settle(db: sqlite3.Connection, settlements: Sequence[Settlement], now: float) -> list[bool]:
    """See `Ledger.settle`."""
    look = _look(db, [s.claim.transfer for s in settlements])
    answers: list[bool] = []
    updates: list[Any] = []
    receipts: list[Any] = []
    failures: list[Any] = []
    places: dict[int, Placement] = {}
    dead: list[tuple[int, Transfer, Dead]] = []
    freed: set[int] = set()
    for s in settlements:
        t, outcome = s.claim.transfer, s.outcome
        row, place = look.rows.get(t.id), look.places.get((t.store, t.key))
        held = place is not None and place.fence == s.claim.fence
        if s.last and place is not None and held:
            freed.add(place.id)
        if row is None or place is None or not held or row.state is not State.CLAIMED:
            answers.append(False)
            continue
        answers.append(True)
        state, reason, due_at, failure = rules.after(outcome)
        look.moved(row.state, state)
        row.state = state
        if failure:
            row.burned += failure.burned
            failures.append((row.serial, codec.pack_failure(failure)))
        due = None if due_at is None else rules.ticks(due_at)
        updates.append((row.serial, NUMBER[state], reason, due, row.burned))
        if moved := _placed(outcome, place.placement, t):
            places[place.id] = place.placement = moved
        if isinstance(outcome, Done):
            receipts.append((row.serial, codec.pack_receipt(outcome.receipt)))
        elif isinstance(outcome, Dead):
            dead.append((row.serial, t, outcome))
    run(db, "settle", updates, now=rules.ticks(now))
    run(db, "add_receipts", receipts)
    run(db, "place", [(i, None if p.deleted else p.source.bucket, codec.pack_placement(p)) for i, p in places.items()])
    run(db, "add_failures", failures)
    run(db, "free", list(freed))
    if dead:
        stories = tell(db, [serial for serial, _, _ in dead])
        keep(db, [(serial, rules.letter(t, outcome, tuple(stories[serial]))) for serial, t, outcome in dead])
    count(db, look.counts)
    return answers


def _placed(outcome: Outcome, old: Placement | None, transfer: Transfer) -> Placement | None:
    """What the destination key holds after this outcome, where that changes."""
    if isinstance(outcome, Done):
        return rules.merged(outcome.placement, old)
    if isinstance(outcome, Skipped) and outcome.positions and old is not None and old.about(transfer.source):
        return old.advance(outcome.positions)
    return None


def tell(db: sqlite3.Connection, serials: Sequence[int]) -> dict[int, list[Any]]:
    """The failures of transfers."""
    stories: dict[int, list[Any]] = {serial: [] for serial in serials}
    for serial, failure in orjson.loads(db.execute(SQL["failures"], {"batch": pack(serials)}).fetchone()[0]):
        stories[serial].append(codec.unpack_failure(failure))
    return stories


def keep(db: sqlite3.Connection, letters: Sequence[tuple[int | None, DeadLetter]]) -> None:
    """Write letters. One that lies there already stays as it is; a redriven one has died again, and is a new one."""
    db.execute(SQL["drop_redriven"], {"ids": pack([letter.id for _, letter in letters])})
    run(
        db,
        "add_letters",
        [
            (
                letter.id,
                serial,
                rules.ticks(letter.at),
                letter.route,
                letter.reason,
                codec.to_sql(letter.key),
                codec.to_sql(rules.source_key(letter.source)),
                codec.pack_letter(letter),
            )
            for serial, letter in letters
        ],
    )


def _held(db: sqlite3.Connection, claims: Sequence[Claim]) -> list[int | None]:
    batch = pack([(codec.to_sql(c.transfer.key), c.transfer.store, c.fence) for c in claims])
    places: list[int | None] = orjson.loads(db.execute(SQL["held"], {"batch": batch}).fetchone()[0])
    return places


def _look(db: sqlite3.Connection, transfers: Sequence[Transfer]) -> _Look:
    batch = pack([(*codec.number(t.id), codec.to_sql(t.key), t.store) for t in transfers])
    found, serial, place, fence = db.execute(SQL["look"], {"batch": batch}).fetchone()
    look = _Look(last=Counter(serial=serial or 0, place=place or 0, fence=fence or 0))
    for t, known in zip(transfers, orjson.loads(found), strict=True):
        number, state, reason, due_at, burned, lost, owner, id_, holder, fence, until, placement = known
        if number is not None and t.id not in look.rows:
            due = None if due_at is None else codec.seconds(due_at)
            look.rows[t.id] = _Row(number, STATES[state], reason, due, burned, lost, owner)
        if id_ is not None and (t.store, t.key) not in look.places:
            known_placement = codec.unpack_placement(t.store, t.key, placement) if placement else None
            look.places[t.store, t.key] = _Place(id_, holder, fence or 0, until or 0, known_placement)
    return look
