"""The ledger in Redis from outside: whether it exists, is consistent, and has a server with safe settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from skyferry.errors import LedgerError, SkyferryError
from skyferry.ledgers.codec import NUMBER, STATES
from skyferry.ledgers.redis.database import HISTORY, RedisDatabase, load_scripts, parse_version
from skyferry.ledgers.redis.ledger import RedisLedger
from skyferry.ledgers.redis.records import REMEDY, decode_key
from skyferry.ledgers.redis.rights import find_foreign_keys, find_lacking_rights
from skyferry.ports.inspection import LedgerFacts
from skyferry.ports.ledger import Backup, Ledger, LedgerRecords, LedgerStatus
from skyferry.redis.client import Client, RedisClient
from skyferry.redis.server_settings import (
    check_server_settings,
    describe_durability,
    describe_version,
    measure_skew,
    read_server_settings,
)
from skyferry.sql.schema_steps import SchemaStep

PAGE = 1000  # records compared at once
PROBLEMS = (
    "transfers without their record",
    "dead transfers without their letter",
)


class RedisLedgerMaintenance:
    """A `LedgerMaintenance`, and an `InspectableLedger`. Backups are the server's."""

    remedy = REMEDY

    def __init__(
        self, client: Callable[[], RedisClient[LedgerError]], open_: Callable[[], Coroutine[Any, Any, RedisLedger]]
    ) -> None:
        """`client` makes a client, and `open_` opens the ledger."""
        address = client().address
        server = address.server
        self._client, self._open = client, open_
        self.where = f"redis{'s' * address.tls}://{server.shown}/{'/'.join(server.path)}"

    async def exists(self) -> bool:
        async with self._database() as db:
            return parse_version(db, await db.run("housekeeping.version")).number > 0

    async def read_status(self) -> LedgerStatus:
        client = self._client()
        try:
            db = RedisDatabase(client, lambda error: None, load_scripts())
            at = parse_version(db, await db.run("housekeeping.version"))
            counts = await db.run("queries.count") if at.number and at.compatible_from <= HISTORY.known else None
            size = await client.run(lambda redis: _measure(redis, db.keys))
            info = await read_server_settings(client)
        finally:
            await client.close()
        transfers = None if counts is None else {state: counts[NUMBER[state]] for state in STATES}
        pending, engine = tuple(map(str, HISTORY.list_pending(at))), describe_version(info)
        return LedgerStatus(engine, at.number, at.compatible_from, HISTORY.known, pending, transfers, size)

    @asynccontextmanager
    async def read_records(self) -> AsyncIterator[LedgerRecords]:
        async with self._database() as db:
            yield RedisLedger(db, "", 0.0)

    async def migrate(self) -> AsyncIterator[str]:
        async with self._database() as db:
            at = parse_version(db, await db.run("housekeeping.version"))
            await db.ensure_ledger()
            for step in HISTORY.list_pending(at):
                if step.contracts:
                    await _contract(db, step)
                yield str(step)

    async def find_damage(self, *, quick: bool = False) -> list[str]:
        """See `Durable`. The files are the server's to check; here the records are compared with each other."""
        async with self._database() as db:
            db.check_compatible(await db.run("housekeeping.version"))
            counts = [0] * len(PROBLEMS)
            for state in () if quick else STATES:
                at, serial, ended = -1, 0, 0
                while not ended:
                    ended, at, serial, *found = await db.run("queries.compare", NUMBER[state], at, serial, PAGE)
                    counts = [a + b for a, b in zip(counts, found, strict=True)]
            rows, listed, letters, dated = await db.run("queries.sizes")
        problems = [f"{count:,} {what}" for what, count in zip(PROBLEMS, counts, strict=True) if count]
        if rows != listed:
            problems.append(f"{rows:,} transfers, {listed:,} in listings")
        if letters != dated:
            problems.append(f"{letters:,} dead letters, {dated:,} in listings")
        return problems

    async def inspect(self) -> LedgerFacts:
        """See `InspectableLedger`."""
        client = self._client()
        try:
            found, skew = await read_server_settings(client), await measure_skew(client)
            lacking, foreign = await find_lacking_rights(client), await find_foreign_keys(client)
        finally:
            await client.close()
        address = client.address
        notes = (
            describe_version(found),
            "TLS" if address.tls else "without TLS",
            *([f"database {address.database}"] if address.database else ()),
            *(["cluster"] if address.is_cluster else ()),
            *([f"the primary {address.sentinel} of these sentinels"] if address.sentinel else ()),
            f"durability: {describe_durability(found)}",
        )
        who = address.server.user or "default"
        return LedgerFacts(address.server.shown, who, skew, notes, (*lacking, *foreign, *check_server_settings(found)))

    async def back_up(self, target: Path) -> Backup:
        """Raise SkyferryError: the server does it, as of one moment and while the service runs."""
        hint = "Use the backups of the server, or run BGSAVE there and copy its dump.rdb."
        raise SkyferryError("a ledger in Redis is backed up by its server", where=self.where, hint=hint)

    @asynccontextmanager
    async def rebuild(self, *, add: bool = False) -> AsyncIterator[Ledger]:
        """See `LedgerMaintenance`. A ledger with records is only added to; services may be using it."""
        ledger = await self._open()
        try:
            if not add and any((await ledger.count_transfers()).values()):
                hint = "Add --add to complete it, or use another name in the URL."
                raise SkyferryError("the ledger is not empty", where=self.where, hint=hint)
            yield ledger
        finally:
            await ledger.close()

    @asynccontextmanager
    async def _database(self) -> AsyncIterator[RedisDatabase]:
        db = RedisDatabase(self._client(), lambda error: None, load_scripts())
        try:
            yield db
        finally:
            await db.close()


async def _contract(db: RedisDatabase, step: SchemaStep) -> None:
    """Apply a contraction. Raises LedgerError if a worker that knows only older versions has not ended."""
    if older := await db.run("housekeeping.contract", step.number):
        names = ", ".join(sorted(map(decode_key, older)))
        hint = "Stop or update them, then run `skyferry ledger migrate` again."
        raise LedgerError(f"step {step} waits for older programs: {names}", hint=hint)


async def _measure(redis: Client, keys: Sequence[str]) -> int:
    """Return the bytes of all keys, as the server estimates them."""
    return sum([await redis.memory_usage(key) or 0 for key in keys])
