"""A ledger in one SQLite file, for the processes of one machine.

Claims and renewals are not flushed to the disk: a loss of power ends whoever could hold one.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path

import orjson

from skyferry.errors import LedgerError, SkyferryError
from skyferry.ledgers import rules
from skyferry.ledgers.sqlite import claims as batches
from skyferry.ledgers.sqlite import codec, queries, uploads
from skyferry.ledgers.sqlite import dead_letters as redriving
from skyferry.ledgers.sqlite import held_deletes as held
from skyferry.ledgers.sqlite import refusals as refusing
from skyferry.ledgers.sqlite.codec import NUMBER, pack
from skyferry.ledgers.sqlite.held_deletes import SqliteHeld
from skyferry.model import Claim, Placement, Progress, State, Transfer
from skyferry.ports import Clock, DeadLetter, Filter, Page, Refusal, Settled, Settlement, TransferRow, Wait
from skyferry.ports.letter_attributes import Death
from skyferry.sqlite.file import Presence, SqliteFile
from skyferry.sqlite.statements import read, text

PAGE = 1000  # keys that `placed` reads at once
SWEEP = 2.0  # seconds between looks for dead owners


class SqliteLedger(SqliteHeld):
    """A `Ledger`. Any number of processes may have the file open; a lease of one that died is free at once."""

    def __init__(
        self,
        path: Path,
        owner: str,
        clock: Clock,
        lease: float = 30.0,
        hear: Callable[[SkyferryError | None], None] = lambda error: None,
    ) -> None:
        """Open or create the file. `owner` MUST be unique among the processes that have it open; `lease` is in seconds.

        `hear` is called with each LedgerError, and with None once the ledger works again.
        """
        self.owner = owner
        self.lease = lease
        self._clock = clock
        self._me = 0
        self._busy = False  # somebody else had a key that we wanted
        self._swept = clock.monotonic()
        schema = text("schema.sql") + held.SQL["schema"]
        self._file = SqliteFile(path, schema, owner, LedgerError, self._enter, hear)

    def _enter(self, db: sqlite3.Connection, presence: Presence) -> None:
        redriving.migrate(db)
        refusing.migrate(db)
        dead = presence.dead()
        self._me = db.execute(batches.SQL["enter"], {"name": self.owner}).lastrowid or 0
        _leave(db, [*dead, self.owner], self._me)
        presence.forget(dead)

    async def claim(self, transfers: Sequence[Transfer]) -> list[Claim | Settled | Wait]:
        if self._busy and self._clock.monotonic() >= self._swept + SWEEP:
            await self._sweep()
        now = self._clock.time()
        answers = await self._file.write(
            lambda db: batches.claim(db, transfers, self._me, now, self.lease), flush=False
        )
        self._busy = self._busy or any(isinstance(answer, Wait) and answer.busy for answer in answers)
        return answers

    async def _sweep(self) -> None:
        """Free what dead owners have leased."""
        self._busy, self._swept = False, self._clock.monotonic()
        if dead := await asyncio.to_thread(self._file.presence.dead):
            await self._file.write(lambda db: _leave(db, dead, self._me))
            await asyncio.to_thread(self._file.presence.forget, dead)

    async def renew(self, claims: Sequence[Claim]) -> list[Claim]:
        until = self._clock.time() + self.lease
        return await self._file.write(lambda db: batches.renew(db, claims, until), flush=False)

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        now = self._clock.time()
        return await self._file.write(lambda db: batches.settle(db, settlements, now))

    async def save(self, saves: Sequence[tuple[Claim, Progress]]) -> list[bool]:
        now = self._clock.time()
        return await self._file.write(lambda db: batches.save(db, saves, now))

    async def open_uploads(self) -> AsyncIterator[Progress]:
        found, behind = await self._file.read(partial(uploads.page, after=(-1, 0), limit=PAGE))
        while found:
            for progress in found:
                yield progress
            found, behind = await self._file.read(partial(uploads.page, after=behind, limit=PAGE))

    async def close_uploads(self, store: str, ids: Sequence[str]) -> None:
        await self._file.write(lambda db: uploads.close(db, store, ids))

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        await self._file.write(lambda db: batches.keep(db, [(None, rules.fresh(letter)) for letter in letters]))

    async def refuse(self, refusals: Sequence[Refusal]) -> None:
        await self._file.write(lambda db: refusing.refuse(db, refusals), flush=False)

    async def refusals(self, key: str) -> list[Refusal]:
        return await self._file.read(lambda db: refusing.refusals(db, key))

    async def unrouted(self, limit: int = 20) -> list[tuple[str, int]]:
        return await self._file.read(lambda db: refusing.unrouted(db, limit))

    async def placements(self, store: str, keys: Sequence[str]) -> list[Placement | None]:
        rows = [(key, store) for key in keys]

        def operation(db: sqlite3.Connection) -> list[Placement | None]:
            pairs = zip(keys, read(db, queries.SQL["placements"], rows), strict=True)
            return [codec.unpack_placement(store, key, packed) if packed else None for key, packed in pairs]

        return await self._file.read(operation)

    async def placed(self, store: str, source: str, after: str = "") -> AsyncIterator[Placement]:
        start, count = after, PAGE
        while count == PAGE:
            start, count, found = await self._page(store, source, start)
            for placement in found:
                yield placement

    async def _page(self, store: str, source: str, start: str) -> tuple[str, int, list[Placement]]:
        """The last key of a page behind `start`, how many keys it has, and those that came from `source`."""
        names = {"store": store, "bucket": source, "after": start, "limit": PAGE}

        def operation(db: sqlite3.Connection) -> tuple[str, int, list[Placement]]:
            last, count, found = db.execute(queries.SQL["placed"], names).fetchone()
            return last, count, [codec.unpack_placement(store, key, packed) for key, packed in orjson.loads(found)]

        return await self._file.read(operation)

    async def transfer(self, transfer_id: str) -> TransferRow | None:
        try:
            high, low = codec.number(transfer_id)
        except ValueError:
            return None
        return await self._file.read(lambda db: queries.transfer(db, high, low))

    async def transfers(self, where: Filter, cursor: str = "", limit: int = 100) -> Page[TransferRow]:
        return await self._file.read(lambda db: queries.transfers(db, where, cursor, limit))

    async def dead_letters(self, where: Filter, cursor: str = "", limit: int = 100) -> Page[DeadLetter]:
        return await self._file.read(lambda db: queries.letters(db, where, cursor, limit))

    async def dead_letter(self, letter_id: str) -> DeadLetter | None:
        def operation(db: sqlite3.Connection) -> DeadLetter | None:
            found = db.execute(queries.SQL["letter"], {"id": letter_id}).fetchone()
            return codec.unpack_letter(*found) if found else None

        return await self._file.read(operation)

    async def causes(self) -> list[tuple[str, str, int]]:
        return await self._file.read(lambda db: db.execute(queries.SQL["causes"]).fetchall())

    async def redrive(self, where: Filter, ids: Sequence[str] | None = None) -> int:
        now = rules.ticks(self._clock.time())
        return await self._file.write(lambda db: redriving.redrive(db, where, ids, now))

    async def discard(self, where: Filter, ids: Sequence[str] | None = None) -> int:
        now = rules.ticks(self._clock.time())
        return await self._file.write(lambda db: redriving.discard(db, where, ids, now))

    async def take_redriven(self, limit: int, lease: float) -> list[DeadLetter]:
        now = rules.ticks(self._clock.time())
        until = now + rules.ticks(lease)
        if not await self._file.read(lambda db: redriving.ready(db, now, 1)):
            return []  # asked for again and again: without a transaction where there is nothing
        return await self._file.write(lambda db: redriving.take(db, now, limit, until))

    async def finish_redriven(self, deaths: Sequence[Death], retry_at: float | None = None) -> None:
        again = None if retry_at is None else rules.ticks(retry_at)
        await self._file.write(lambda db: redriving.finish(db, deaths, again))

    async def redriven(self) -> int:
        query = queries.SQL["redriven"]
        return await self._file.read(lambda db: int(db.execute(query).fetchone()[0]))

    async def take_unpublished(self, limit: int, lease: float) -> list[DeadLetter]:
        now = rules.ticks(self._clock.time())
        until = now + rules.ticks(lease)
        if not await self._file.read(lambda db: redriving.unpublished(db, now, 1)):
            return []  # as for those redriven
        return await self._file.write(lambda db: redriving.publish(db, now, limit, until))

    async def published(self, letters: Sequence[DeadLetter], retry_at: float | None = None) -> None:
        again = None if retry_at is None else rules.ticks(retry_at)
        await self._file.write(lambda db: redriving.published(db, letters, again))

    async def counts(self) -> dict[State, int]:
        query = queries.SQL["counts"]
        found = await self._file.read(lambda db: db.execute(query).fetchone()[0])
        numbers = {int(number): count for number, count in orjson.loads(found)}
        return {state: numbers.get(NUMBER[state], 0) for state in State}

    async def oldest_unsettled(self) -> dict[str, float]:
        query = queries.SQL["oldest_unsettled"]
        return orjson.loads(await self._file.read(lambda db: db.execute(query).fetchone()[0]))  # type: ignore[no-any-return]  # as the query makes it

    async def check(self) -> None:
        await self._file.write(lambda db: db.execute(batches.SQL["touch"]).close())

    async def prune(self, before: float, limit: int = 1000) -> int:
        ticks = rules.ticks(before)
        return await self._file.write(lambda db: _prune(db, ticks, limit))

    async def close(self) -> None:
        if not self._file.closed:
            await self._file.write(lambda db: _leave(db, [self.owner], 0))
        await self._file.close()


def _leave(db: sqlite3.Connection, names: Sequence[str], but: int) -> None:
    """Free the leases of these owners, but for the one that has entered as `but`."""
    for statement in ("leave", "forget"):
        db.execute(batches.SQL[statement], {"names": pack(names), "but": but})


def _prune(db: sqlite3.Connection, before: int, limit: int) -> int:
    serials, states = db.execute(queries.SQL["settled_before"], {"before": before, "limit": limit}).fetchone()
    if serials == "[]":
        return refusing.prune(db, before, limit)
    (places,) = db.execute(queries.SQL["places_of"], {"batch": serials}).fetchone()
    for table in ("transfers", "details", "receipts", "failures"):
        db.execute(queries.SQL[f"prune_{table}"], {"batch": serials})
    db.execute(queries.SQL["prune_places"], {"places": places})
    gone = Counter(orjson.loads(states))
    batches.count(db, {f"state {number}": -count for number, count in gone.items()})
    return gone.total()
