"""Dead letters on PostgreSQL: kept, redriven, discarded, leased to be redriven or published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skyferry.ledgers import codec, rules
from skyferry.ledgers.codec import STATES
from skyferry.ledgers.postgres.conditions import decode_key, encode_key, select_letters
from skyferry.ledgers.postgres.database import LedgerDatabase, LedgerSession
from skyferry.model import State
from skyferry.ports import DeadLetter, DeadLetterRef, Filter, Page, Purpose
from skyferry.ports.ledger.dead_letters import parse_source_bucket, parse_source_key
from skyferry.sql import load_statements

SQL = load_statements(__package__, "dead_letters.sql")
COUNT = load_statements(__package__, "claims.sql")["count"]


class PostgresDeadLetters:
    """The `DeadLetters` and `LetterLeases` parts of a ledger."""

    owner: str
    _db: LedgerDatabase
    _me: int

    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        if letters:
            rows = [(None, rules.reset_letter(letter)) for letter in letters]
            await self._db.write(lambda db: insert_letters(db, rows))

    async def get_dead_letter(self, letter_id: str) -> DeadLetter | None:
        found = await self._db.read(lambda db: db.fetchrow(SQL["get"], letter_id))
        return codec.unpack_letter(*found) if found else None

    async def list_dead_letters(self, where: Filter, cursor: str = "", limit: int = 100) -> Page[DeadLetter]:
        behind = rules.parse_cursor(cursor) if cursor else rules.NEWEST
        chosen = select_letters(where, None, *(max(-(2**63), min(n, 2**63 - 1)) for n in behind), limit + 1)
        rows = await self._db.read(lambda db: db.fetch(_fill("list", chosen), *chosen.values))
        page = rows[:limit]
        more = rules.make_cursor(page[-1]["at"], page[-1]["serial"]) if len(rows) > limit else ""
        return Page([codec.unpack_letter(row["letter"], row["redriven_at"]) for row in page], more)

    async def count_dead_letters(self) -> list[tuple[str, str, int]]:
        rows = await self._db.read(lambda db: db.fetch(SQL["count"]))
        return [(route, reason, count) for route, reason, count in rows]

    async def count_unrouted(self, limit: int = 20) -> list[tuple[str, int]]:
        rows = await self._db.read(lambda db: db.fetch(SQL["count_unrouted"], limit))
        return [(decode_key(bucket), count) for bucket, count in rows]

    async def count_redriven(self) -> int:
        return int(await self._db.read(lambda db: db.fetchval(SQL["count_redriven"])))

    async def redrive(self, where: Filter, ids: Sequence[str] | None = None) -> int:
        chosen = select_letters(where, ids)

        async def redrive(db: LedgerSession) -> int:
            moved, marked = await db.fetchrow(_fill("redrive", chosen), *chosen.values)
            await self._count(db, {State.DEAD: -moved, State.RETRY: moved})
            return int(marked)

        return await self._db.write(redrive)

    async def discard(self, where: Filter, ids: Sequence[str] | None = None) -> int:
        chosen = select_letters(where, ids)

        async def discard(db: LedgerSession) -> int:
            dead, retry, deleted = await db.fetchrow(_fill("discard", chosen), *chosen.values)
            await self._count(db, {State.DEAD: -dead, State.RETRY: -retry, State.DISCARDED: dead + retry})
            return int(deleted)

        return await self._db.write(discard)

    async def take_letters(self, purpose: Purpose, limit: int, lease: float) -> list[DeadLetter]:
        if not await self._db.read(lambda db: db.fetchval(SQL[f"is_due_{purpose}"])):
            return []  # called every second: no transaction if no letter is due
        rows = await self._db.write(lambda db: db.fetch(SQL[f"take_{purpose}"], limit, rules.to_ticks(lease)))
        return [codec.unpack_letter(letter, redriven_at) for letter, redriven_at in rows]

    async def finish_letters(self, purpose: Purpose, letters: Sequence[DeadLetterRef]) -> None:
        if letters:
            await self._db.write(lambda db: db.execute(SQL[f"finish_{purpose}"], *_refs(letters)))

    async def reschedule_letters(self, purpose: Purpose, letters: Sequence[DeadLetterRef], delay: float) -> None:
        if letters:
            ticks = rules.to_ticks(delay)
            await self._db.write(lambda db: db.execute(SQL[f"reschedule_{purpose}"], *_refs(letters), ticks))

    async def _count(self, db: LedgerSession, changes: dict[State, int]) -> None:
        if any(changes.values()):
            await db.execute(COUNT, self._me, self.owner, [changes.get(state, 0) for state in STATES])


async def insert_letters(db: LedgerSession, letters: Sequence[tuple[bytes | None, DeadLetter]]) -> None:
    """Write letters with the ids of their transfers. A letter of a known id is kept, but a redriven one is replaced."""
    await db.execute(SQL["drop_redriven"], [letter.id for _, letter in letters])
    columns = zip(*(_pack(transfer, letter) for transfer, letter in letters), strict=True)
    await db.execute(SQL["add"], *map(list, columns))


def _pack(transfer: bytes | None, letter: DeadLetter) -> tuple[Any, ...]:
    source_key = encode_key(parse_source_key(letter.source))
    bucket = encode_key(parse_source_bucket(letter.source)) if letter.reason == rules.UNROUTED else None
    named = (letter.id, transfer, rules.to_ticks(letter.at), letter.route, letter.reason)
    return (*named, encode_key(letter.key), source_key, bucket, codec.pack_letter(letter))


def _refs(letters: Sequence[DeadLetterRef]) -> tuple[list[str], list[int]]:
    return [ref.id for ref in letters], [rules.to_ticks(ref.at) for ref in letters]


def _fill(statement: str, chosen: object) -> str:
    return SQL[statement].replace(":chosen", str(chosen))
