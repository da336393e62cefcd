"""Queries of transfers and placements on Redis. A script looks at a bounded number of records; a listing goes on from there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import orjson

from skyferry.ledgers import codec, rules
from skyferry.ledgers.codec import NUMBER, STATES
from skyferry.ledgers.redis.database import RedisDatabase
from skyferry.ledgers.redis.records import (
    NONE,
    UNREADABLE,
    encode_key,
    explain_damage,
    name_place,
    parse_placement,
    restore_transfer,
)
from skyferry.model import ObjectMeta, ObjectRef, Placement, State, Transfer
from skyferry.ports import Filter, Page, TransferRow
from skyferry.ports.joins import select_current
from skyferry.regex import compile_lazily

LOOK = 1000  # records of a state that a script looks at; 200 of each of all states
FEW = 2000  # keys that may be looked up one by one
SCAN = 10_000  # ids that a script looks at, each for 0.1 µs
SPECIAL = compile_lazily(rb"[*?\[\]\\^-]")  # in a pattern of Redis
PAGE = 1000  # keys, or unsettled transfers, read at once


class RedisQueries:
    """The `Transfers` and `Placements` parts of a ledger."""

    _db: RedisDatabase

    async def get_transfer(self, transfer_id: str) -> TransferRow | None:
        try:
            id_ = bytes.fromhex(transfer_id)
        except ValueError:
            return None
        found = await self._db.run("queries.get", id_)
        if not found:
            return None
        place, *columns, failures = found
        history = tuple(codec.build_failure(each) for each in orjson.loads(b"[%b]" % (failures or b"")))
        return replace(_unpack_row(id_, place, *columns), failures=history)

    async def find_ids(self, prefix: str, limit: int) -> list[str]:
        """See `Transfers`. The ids have no order, so all are looked at."""
        if codec.span_ids(prefix) is None:
            return []
        pattern = SPECIAL.sub(rb"\\\g<0>", bytes.fromhex(prefix[: len(prefix) // 2 * 2])) + b"*"
        found, cursor = set[str](), b"0"
        while len(found) < limit:
            cursor, *ids = await self._db.run("queries.ids", cursor, pattern, SCAN)
            found |= {id_ for id_ in map(bytes.hex, ids) if id_.startswith(prefix)}
            if cursor == b"0":
                break
        return sorted(found)[:limit]

    async def list_transfers(self, where: Filter, cursor: str = "", limit: int = 100) -> Page[TransferRow]:
        at, serial = rules.parse_cursor(cursor) if cursor else rules.NEWEST
        if where.until is not None and rules.to_ticks(where.until) <= at:
            at, serial = rules.to_ticks(where.until) - 1, rules.NEWEST[1]
        states = "".join(str(NUMBER[state]) for state in STATES if where.state in (None, state))
        since = 0 if where.since is None else rules.to_ticks(where.since)
        texts = (where.route, where.reason, encode_key(where.key_prefix), encode_key(where.source_key))
        chosen = (states, since, rules.to_ticks(where.idle), *texts)
        rows: list[tuple[TransferRow, str]] = []
        ended = False
        while not ended and len(rows) <= limit:
            look = LOOK if len(states) == 1 else LOOK // 5
            wanted = limit + 1 - len(rows)
            ended, at, serial, *found = await self._db.run("queries.list", at, serial, wanted, look, FEW, *chosen)
            rows += [(_unpack_row(*row[1:]), rules.make_cursor(row[8], row[0])) for row in found]
        return Page([row for row, _ in rows[:limit]], rows[limit - 1][1] if len(rows) > limit else "")

    async def count_transfers(self) -> dict[State, int]:
        counts = await self._db.run("queries.count")
        return {state: counts[NUMBER[state]] for state in State}

    async def find_oldest_unsettled(self) -> dict[str, float]:
        oldest: dict[str, tuple[int, bytes, bytes, bytes]] = {}
        for state in (State.RETRY, State.CLAIMED):
            at, serial, ended = NONE, 0, 0
            while not ended:
                ended, at, serial, *found = await self._db.run("queries.oldest", NUMBER[state], at, serial, PAGE)
                for route, *record in found:
                    name, one = route.decode(), tuple(record)
                    oldest[name] = min(oldest.get(name, one), one)
        return {route: _unpack_transfer(*record).occurred_at for route, (_, *record) in oldest.items()}

    async def get_placements(self, store: str, keys: Sequence[str]) -> list[Placement | None]:
        if not keys:
            return []
        names = [name_place(store, key) for key in keys]
        found = await self._db.send("queries.placements", names)
        return [parse_placement(name, packed) for name, packed in zip(names, found, strict=True)]

    async def find_current(self, store: str, source: ObjectRef, listed: Sequence[tuple[ObjectMeta, str]]) -> set[str]:
        return select_current(await self.get_placements(store, [key for _, key in listed]), source, listed)

    async def list_placements(self, store: str, source: str, after: str = "") -> AsyncIterator[Placement]:
        at_store, key, ended = name_place(store, ""), encode_key(after), 0
        while not ended:
            ended, *found = await self._db.run("queries.placed", store, encode_key(source), key, PAGE)
            for key, packed in zip(found[::2], found[1::2], strict=True):
                if placement := parse_placement(at_store + key, packed):
                    yield placement


def _unpack_transfer(id_: bytes, place: bytes, packed: bytes) -> Transfer:
    try:
        return codec.unpack_transfer(restore_transfer(packed, id_, place)[0])
    except UNREADABLE as error:
        raise explain_damage(f"transfer {id_.hex()}", error) from error


def _unpack_row(
    id_: bytes,
    place: bytes,
    state: int,
    reason: bytes,
    burned: int,
    lost: int,
    created: int,
    updated: int,
    due: int,
    packed: bytes,
    receipt: bytes | None,
) -> TransferRow:
    due_at = None if due == NONE else due
    try:
        text, proof = restore_transfer(packed, id_, place)
        # A receipt of its own is the later one: its worker had not noticed the migration
        shown = receipt.decode() if receipt else proof or None
        return codec.unpack_row(text, state, reason.decode(), burned, lost, created, updated, due_at, shown)
    except UNREADABLE as error:
        raise explain_damage(f"transfer {id_.hex()}", error) from error
