"""Dead letters on Redis. Filters are compared here, page by page; redriving and discarding take effect in steps of a page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from skyferry.frozen import dataclass
from skyferry.ledgers import codec, rules
from skyferry.ledgers.filters import matches_letter
from skyferry.ledgers.redis.database import RedisDatabase
from skyferry.ledgers.redis.records import NONE, decode_key, encode_key, pack_letter
from skyferry.ports import DeadLetter, DeadLetterRef, Filter, Page, Purpose

PAGE = 500  # letters read at once
STEP = 1000  # letters changed at once


@dataclass(frozen=True, slots=True)
class _Found:
    letter: DeadLetter
    at: int
    serial: int


class RedisDeadLetters:
    """The `DeadLetters` and `LetterLeases` parts of a ledger."""

    _db: RedisDatabase

    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        if letters:
            await self._db.send("letters.add", [pack_letter(rules.reset_letter(letter)) for letter in letters])

    async def get_dead_letter(self, letter_id: str) -> DeadLetter | None:
        found = await self._db.run("letters.get", encode_key(letter_id))
        return _unpack(*found) if found else None

    async def list_dead_letters(self, where: Filter, cursor: str = "", limit: int = 100) -> Page[DeadLetter]:
        at, serial = rules.parse_cursor(cursor) if cursor else rules.NEWEST
        page: list[_Found] = []
        async for found in self._find(where, at, serial):
            if len(page) == limit:
                return Page([f.letter for f in page], rules.make_cursor(page[-1].at, page[-1].serial))
            page.append(found)
        return Page([found.letter for found in page], "")

    async def count_dead_letters(self) -> list[tuple[str, str, int]]:
        causes, _ = await self._db.run("letters.counts")
        groups = []
        for name, count in zip(causes[::2], causes[1::2], strict=True):
            end = 2 + int.from_bytes(name[:2], "big")
            groups.append((decode_key(name[2:end]), decode_key(name[end:]), int(count)))
        return sorted(groups, key=lambda group: (-group[2], group[0], group[1]))

    async def count_unrouted(self, limit: int = 20) -> list[tuple[str, int]]:
        found = await self._db.run("letters.unrouted", limit)
        pairs = zip(found[::2], found[1::2], strict=True)
        return [(decode_key(bucket), int(count)) for bucket, count in pairs][:limit]

    async def count_redriven(self) -> int:
        return int((await self._db.run("letters.counts"))[1])

    async def redrive(self, where: Filter, ids: Sequence[str] | None = None) -> int:
        return await self._change("letters.redrive", where, ids)

    async def discard(self, where: Filter, ids: Sequence[str] | None = None) -> int:
        return await self._change("letters.discard", where, ids)

    async def take_letters(self, purpose: Purpose, limit: int, lease: float) -> list[DeadLetter]:
        found = await self._db.run("letters.take", purpose, limit, rules.to_ticks(lease))
        return [_unpack(*one) for one in found]

    async def finish_letters(self, purpose: Purpose, letters: Sequence[DeadLetterRef]) -> None:
        if letters:
            await self._db.run("letters.finish", purpose, *_refs(letters))

    async def reschedule_letters(self, purpose: Purpose, letters: Sequence[DeadLetterRef], delay: float) -> None:
        if letters:
            await self._db.run("letters.reschedule", purpose, rules.to_ticks(delay), *_refs(letters))

    async def _change(self, script: str, where: Filter, ids: Sequence[str] | None) -> int:
        found = [f.letter.ref async for f in self._find(where, *rules.NEWEST, ids)]
        count = 0
        for start in range(0, len(found), STEP):
            count += await self._db.run(script, *_refs(found[start : start + STEP]))
        return count

    async def _find(
        self, where: Filter, at: int, serial: int, ids: Sequence[str] | None = None
    ) -> AsyncIterator[_Found]:
        """Iterate over matching letters, newest first, or among these ids."""
        if ids is not None:
            wanted = [encode_key(name) for name in dict.fromkeys(ids)]
            for start in range(0, len(wanted), PAGE):
                now, *rows = await self._db.send("letters.find", wanted[start : start + PAGE])
                for found in _match(rows, where, now):
                    yield found
            return
        rows = [[]]
        while rows:
            now, *rows = await self._db.run("letters.list", at, serial, PAGE)
            for found in _match(rows, where, now):
                yield found
            if rows:
                _, at, serial, *_ = rows[-1]


def _match(rows: Sequence[Sequence[Any]], where: Filter, now: int) -> list[_Found]:
    found = (_Found(_unpack(text, redriven), at, serial) for _, at, serial, text, redriven in rows)
    return [one for one in found if matches_letter(one.letter, where, codec.to_seconds(now))]


def _unpack(text: bytes, redriven: int) -> DeadLetter:
    return codec.unpack_letter(text.decode(), None if redriven == NONE else redriven)


def _refs(letters: Sequence[DeadLetterRef]) -> list[object]:
    return [part for ref in letters for part in (encode_key(ref.id), rules.to_ticks(ref.at))]
