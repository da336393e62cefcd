"""Claims and settlements on SQLite, as functions of a connection: look at the whole batch, decide, write the whole batch."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from skyferry.ledgers import rules
from skyferry.ledgers.sqlite import codec, uploads
from skyferry.ledgers.sqlite.codec import NUMBER, STATES, pack
from skyferry.model import Claim, Placement, Progress, State, Transfer
from skyferry.ports import Dead, DeadLetter, Done, Outcome, Settled, Settlement, Skipped, Wait
from skyferry.sqlite.statements import named, read, write

SQL = named("claims.sql")
CLAIMED = NUMBER[State.CLAIMED]
Rows = list[tuple[Any, ...]]


@dataclass(slots=True)
class _Row:
    serial: int
    state: int = CLAIMED
    reason: str = ""
    due_at: int | None = None
    burned: int = 0
    lost: int = 0
    owner: int = 0


@dataclass(slots=True)
class _Place:
    id: int
    owner: int = 0  # 0 = nobody
    fence: int = 0
    until: int = 0
    placement: Placement | None = None
    uploads: tuple[Progress, ...] = ()


@dataclass(slots=True)
class _Look:
    """What the ledger knows of a batch."""

    rows: dict[str, _Row] = field(default_factory=dict)  # by transfer id
    places: dict[tuple[str, str], _Place] = field(default_factory=dict)  # by store and key


def _look(db: sqlite3.Connection, transfers: Sequence[Transfer]) -> _Look:
    look = _Look()
    found = read(db, SQL["look"], [(*codec.number(t.id), t.key, t.store) for t in transfers])
    for t, known in zip(transfers, found, strict=True):
        if known[0] is not None and t.id not in look.rows:
            look.rows[t.id] = _Row(*known[:7])
        if known[7] is not None and (t.store, t.key) not in look.places:
            id_, owner, fence, until, packed = known[7:]
            placement = codec.unpack_placement(t.store, t.key, packed) if packed else None
            look.places[t.store, t.key] = _Place(id_, owner or 0, fence or 0, until or 0, placement)
    return look


class _Counters:
    """The last numbers given out, and by how much the number of transfers in each state changes."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._before = orjson.loads(db.execute(SQL["last"]).fetchone()[0])
        self.fence, self.place, self.serial = self._before
        self.states = [0] * len(STATES)

    def save(self, db: sqlite3.Connection) -> None:
        after = (self.fence, self.place, self.serial)
        given = {name: now - self._before[i] for i, (name, now) in enumerate(zip(_NUMBERS, after, strict=True))}
        count(db, given | {f"state {i}": change for i, change in enumerate(self.states)})


_NUMBERS = ("fence", "place", "serial")


def count(db: sqlite3.Connection, changes: Mapping[str, int]) -> None:
    """Move the counters."""
    write(db, SQL["count"], [item for item in changes.items() if item[1]])


class _Claiming:
    """One batch of claims."""

    def __init__(self, db: sqlite3.Connection, me: int, now: float, lease: float) -> None:
        self._db, self._me, self._now = db, me, now
        self._at, self._until = rules.ticks(now), rules.ticks(now + lease)
        self._counters = _Counters(db)
        self._places: Rows = []
        self._rows: Rows = []
        self._details: Rows = []
        self._taken: Rows = []
        self._leases: dict[int, int] = {}  # fence by place

    def run(self, transfers: Sequence[Transfer]) -> list[Claim | Settled | Wait]:
        look = _look(self._db, transfers)
        under_way = uploads.of_places(self._db, [place.id for place in look.places.values()])
        for place in look.places.values():
            place.uploads = under_way.get(place.id, ())
        answers = [self._answer(t, look) for t in transfers]
        write(self._db, SQL["add_places"], self._places)
        write(self._db, SQL["add_transfers"], self._rows)
        write(self._db, SQL["add_details"], self._details)
        write(self._db, SQL["take_transfers"], self._taken)
        write(self._db, SQL["lease"], [(place, fence, self._me, self._until) for place, fence in self._leases.items()])
        self._counters.save(self._db)
        return answers

    def _answer(self, t: Transfer, look: _Look) -> Claim | Settled | Wait:
        row, place = look.rows.get(t.id), look.places.get((t.store, t.key))
        held = codec.seconds(place.until) if place and place.owner != self._me else 0.0
        if row is not None:
            due = None if row.due_at is None else codec.seconds(row.due_at)
            placed = place.placement if place else None
            refused = rules.refuse(t, STATES[row.state], row.reason, due, held, self._now, placed)
        else:
            refused = rules.busy(t.id, held, self._now)
        if refused:
            return refused
        if place is None:
            place = look.places[t.store, t.key] = self._new_place(t)
        self._lease(place)
        if row is None:
            row = look.rows[t.id] = self._new_row(t, place)
        else:
            self._take(row)
        until = codec.seconds(place.until)
        placed = rules.known(place.placement, t)
        return Claim(t, place.fence, row.burned + 1, row.lost, placed, until, place.uploads)

    def _new_place(self, t: Transfer) -> _Place:
        self._counters.place += 1
        self._places.append((self._counters.place, t.key, t.store))
        return _Place(self._counters.place)

    def _lease(self, place: _Place) -> None:
        if place.owner != self._me:
            self._counters.fence += 1
            place.owner, place.fence, place.until = self._me, self._counters.fence, 0
        if place.until < self._until:
            place.until = self._until
            self._leases[place.id] = place.fence

    def _new_row(self, t: Transfer, place: _Place) -> _Row:
        self._counters.serial += 1
        self._counters.states[CLAIMED] += 1
        row = _Row(self._counters.serial, owner=self._me)
        source_key = None if t.source.key == t.key else t.source.key
        ids = codec.number(t.id)
        self._rows.append((row.serial, *ids, place.id, t.route, source_key, CLAIMED, self._me, self._at, self._at))
        self._details.append((row.serial, codec.pack_transfer(t)))
        return row

    def _take(self, row: _Row) -> None:
        """A known row; one that we hold already stays as it is."""
        if row.state == CLAIMED and row.owner == self._me:
            return
        row.lost += row.state == CLAIMED
        self._counters.states[row.state] -= 1
        self._counters.states[CLAIMED] += 1
        row.state, row.owner = CLAIMED, self._me
        self._taken.append((row.serial, row.lost, self._me, self._at))


def claim(
    db: sqlite3.Connection, transfers: Sequence[Transfer], me: int, now: float, lease: float
) -> list[Claim | Settled | Wait]:
    """See `Ledger.claim`."""
    return _Claiming(db, me, now, lease).run(transfers)


def renew(db: sqlite3.Connection, claims: Sequence[Claim], until: float) -> list[Claim]:
    """See `Ledger.renew`."""
    held = read(db, SQL["held"], [(c.transfer.key, c.transfer.store, c.fence) for c in claims])
    places = [place for place in held if place is not None]
    db.execute(SQL["extend"], {"places": pack(places), "until": rules.ticks(until)})
    return [claim for claim, place in zip(claims, held, strict=True) if place is None]


class _Settling:
    """One batch of settlements."""

    def __init__(self, db: sqlite3.Connection, now: float) -> None:
        self._db, self._at = db, rules.ticks(now)
        self._counters = _Counters(db)
        self._rows: Rows = []
        self._receipts: Rows = []
        self._failures: Rows = []
        self._placements: dict[int, Placement] = {}  # by place
        self._dead: list[tuple[int, Transfer, Dead]] = []
        self._freed: set[int] = set()
        self._closed: list[tuple[int, str]] = []  # place and upload

    def run(self, settlements: Sequence[Settlement]) -> list[bool]:
        db, look = self._db, _look(self._db, [s.claim.transfer for s in settlements])
        answers = [self._settle(s, look) for s in settlements]
        write(db, SQL["settle"], self._rows)
        write(db, SQL["add_receipts"], self._receipts)
        write(db, SQL["place"], [_placement(place, p) for place, p in self._placements.items()])
        write(db, SQL["add_failures"], self._failures)
        uploads.settled(db, self._closed)
        db.execute(SQL["free"], {"places": pack(list(self._freed))})
        if self._dead:
            stories = tell(db, [serial for serial, _, _ in self._dead])
            keep(db, [(serial, rules.letter(t, dead, tuple(stories[serial]))) for serial, t, dead in self._dead])
        self._counters.save(db)
        return answers

    def _settle(self, s: Settlement, look: _Look) -> bool:
        t = s.claim.transfer
        row, place = look.rows.get(t.id), look.places.get((t.store, t.key))
        if place is None or place.fence != s.claim.fence:
            return False
        if s.last:
            self._freed.add(place.id)
        if row is None or row.state != CLAIMED:
            return False
        self._record(row, s.outcome)
        self._closed += [(place.id, name) for name in s.closed]
        if moved := _moved(s.outcome, place.placement, t):
            self._placements[place.id] = place.placement = moved
        if isinstance(s.outcome, Done):
            self._receipts.append((row.serial, codec.pack_receipt(s.outcome.receipt)))
        elif isinstance(s.outcome, Dead):
            self._dead.append((row.serial, t, s.outcome))
        return True

    def _record(self, row: _Row, outcome: Outcome) -> None:
        state, reason, due_at, failure = rules.after(outcome)
        row.state = NUMBER[state]
        self._counters.states[CLAIMED] -= 1
        self._counters.states[row.state] += 1
        if failure:
            row.burned += failure.counts_as_attempt
            self._failures.append((row.serial, codec.pack_failure(failure)))
        due = None if due_at is None else rules.ticks(due_at)
        self._rows.append((row.serial, row.state, reason, due, row.burned, self._at))


def save(db: sqlite3.Connection, saves: Sequence[tuple[Claim, Progress]], now: float) -> list[bool]:
    """See `Ledger.save`."""
    return uploads.save(db, saves, now, SQL["held"])


def settle(db: sqlite3.Connection, settlements: Sequence[Settlement], now: float) -> list[bool]:
    """See `Ledger.settle`."""
    return _Settling(db, now).run(settlements)


def _moved(outcome: Outcome, old: Placement | None, transfer: Transfer) -> Placement | None:
    """What the destination key holds after this outcome, where that changes."""
    if isinstance(outcome, Done):
        return rules.merged(outcome.placement, old)
    old = rules.known(old, transfer)
    if isinstance(outcome, Skipped) and outcome.positions and old is not None and old.is_from(transfer.source):
        return old.with_positions(outcome.positions)
    return None


def _placement(place: int, p: Placement) -> tuple[Any, ...]:
    return place, None if p.deleted else p.source.bucket, codec.pack_placement(p)


def tell(db: sqlite3.Connection, serials: Sequence[int]) -> dict[int, list[Any]]:
    """The failures of transfers."""
    stories: dict[int, list[Any]] = {serial: [] for serial in serials}
    for serial, failure in orjson.loads(db.execute(SQL["failures"], {"serials": pack(serials)}).fetchone()[0]):
        stories[serial].append(codec.unpack_failure(failure))
    return stories


def keep(db: sqlite3.Connection, letters: Sequence[tuple[int | None, DeadLetter]]) -> None:
    """Write letters. One that lies there already stays as it is; a redriven one has died again, and is a new one."""
    db.execute(SQL["drop_redriven"], {"ids": pack([letter.id for _, letter in letters])})
    write(db, SQL["add_letters"], [_letter(serial, letter) for serial, letter in letters])


def _letter(serial: int | None, letter: DeadLetter) -> tuple[Any, ...]:
    at, source_key = rules.ticks(letter.at), rules.source_key(letter.source)
    bucket = rules.source_bucket(letter.source) if letter.reason == rules.UNROUTED else None
    return letter.id, serial, at, letter.route, letter.reason, letter.key, source_key, codec.pack_letter(letter), bucket
