"""Ledgers of simulated worlds on real servers, whose time is that of the world."""

from __future__ import annotations

import asyncio
import itertools
import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from inspect import isasyncgenfunction
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from tests.ledgers.postgres.places import FORM
from tests.ledgers.redis.places import connect

from skyferry.clouds.credentials import fixed_credentials
from skyferry.errors import LedgerError
from skyferry.frozen import dataclass
from skyferry.ledgers.postgres.ledger import PostgresLedger
from skyferry.ledgers.redis.database import KEYS, RedisDatabase, load_scripts
from skyferry.ledgers.redis.ledger import RedisLedger
from skyferry.ledgers.redis.records import split_place
from skyferry.ledgers.rules import to_ticks
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.ports import Clock, DeadLetter, Filter, Ledger
from skyferry.postgres.address import parse_postgres
from skyferry.postgres.pool import Connection, PoolOptions, PostgresPool
from skyferry.redis.scripts import LuaScript
from skyferry.testing.servers import PostgresServer, RedisServer
from skyferry.testing.simulation.ledgers import LOSS, Forgotten

T = TypeVar("T")
LEASE = 30.0  # seconds, as in memory
ANSWER = 60.0  # seconds of real time that a server has
SETTLED = 2  # the first number of a state that is settled
_UPDATED, _LEASE = struct.Struct("<d").unpack_from, struct.Struct("<dd").unpack_from  # as in `records.lua`
NAMES = itertools.count(1)
TABLES = (
    "places",
    "transfers",
    "failures",
    "letters",
    "parts",
    "uploads",
    "refusals",
    "held_deletes",
    "workers",
    "roles",
)


class RealTime:
    """An event loop in a thread. A simulated world waits for its calls, and none of its own time passes meanwhile."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        Thread(target=self._loop.run_forever, name="real time", daemon=True).start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(ANSWER)


class AtomicLedger:
    """A ledger each of whose calls is one step of a simulated world."""

    def __init__(self, inner: Any, real: RealTime) -> None:
        self._inner, self._real = inner, real

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._inner, name)
        if not callable(inner):
            return inner

        async def call(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)  # a call that is cancelled here has no effect
            return self._real.run(inner(*args, **kwargs))

        async def iterate(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            for item in self._real.run(_collect(inner(*args, **kwargs))):
                yield item

        return iterate if isasyncgenfunction(inner) else call


async def _collect(items: AsyncIterator[T]) -> list[T]:
    return [item async for item in items]


class _TimedPool(PostgresPool[LedgerError]):
    """One connection, on which the ledger has the time of a clock."""

    clock: Clock
    _connection: Connection = None

    async def run(self, call: Callable[[Connection], Awaitable[T]]) -> T:
        if self._connection is None:
            self._connection = await self.connect()
            await self._connection.execute("SET synchronous_commit = off")
        await self._connection.execute(f"SET skyferry.now = '{to_ticks(self.clock.time())}'")
        return await call(self._connection)

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()


class SqliteWorlds:
    """Makes the ledger of one world, in a file."""

    def __init__(self, path: Path) -> None:
        self.real, self._path = RealTime(), path
        self._open = list[SqliteLedger]()

    def __call__(self, clock: Clock) -> SqliteWorlds:
        """Let the ledger have the time of a clock."""
        self._clock = clock
        return self

    def open(self, owner: str) -> Ledger:
        self._open.append(SqliteLedger(self._path, owner, self._clock, LEASE))
        return AtomicLedger(self._open[-1], self.real)

    def close(self) -> None:
        """Close the file."""
        for ledger in self._open:
            self.real.run(ledger.close())


class PostgresWorlds:
    """Makes the ledgers of worlds, one after the other, in one schema."""

    def __init__(self, server: PostgresServer) -> None:
        self.real, self._schema = RealTime(), f"worlds_{os.getpid()}_{next(NAMES)}"
        url = f"postgresql://{server.user}@{server.address}/postgres?schema={self._schema}"
        options = PoolOptions(parse_postgres(url, FORM, names=0, allow_plain=False), connections=1)
        self._pool = _TimedPool("ledger", options, fixed_credentials(server.password), LedgerError)
        self._made = False

    def __call__(self, clock: Clock) -> PostgresEngine:
        """Return an empty ledger with the time of a clock."""
        self._pool.clock = clock
        self.real.run(self._clear())
        return PostgresEngine(self._pool, self.real)

    async def _clear(self) -> None:
        if not self._made:
            await PostgresLedger(self._pool, "first", LEASE)._open()
            function = f"{self._schema}.ledger_now() RETURNS bigint LANGUAGE sql STABLE"
            body = "SELECT current_setting('skyferry.now')::bigint"
            await self._pool.run(lambda db: db.execute(f"CREATE OR REPLACE FUNCTION {function} AS $${body}$$"))
            self._made = True
        await self._pool.run(lambda db: db.execute("".join(f"DELETE FROM {self._schema}.{table};" for table in TABLES)))

    def close(self) -> None:
        """Drop the schema."""
        self.real.run(self._pool.run(lambda db: db.execute(f"DROP SCHEMA IF EXISTS {self._schema} CASCADE")))
        self.real.run(self._pool.close())


class PostgresEngine:
    """The ledger of one world in PostgreSQL."""

    def __init__(self, pool: PostgresPool[LedgerError], real: RealTime) -> None:
        self._pool, self._real = pool, real

    def open(self, owner: str) -> Ledger:
        ledger = PostgresLedger(self._pool, owner, LEASE)
        self._real.run(ledger._register())
        return AtomicLedger(ledger, self._real)


class _TimedDatabase(RedisDatabase):
    """The scripts get the time of a clock as their last argument, which `CLOCK` reads and removes."""

    clock: Clock

    async def send(self, name: str, arguments: Any) -> Any:
        now = self.clock.time()
        return await super().send(name, [*arguments, f"{int(now)} {int(now % 1 * 1_000_000)}"])


CLOCK = """(function()
    local seconds, microseconds = table.remove(ARGV):match('(%d+) (%d+)')
    return {tonumber(seconds), tonumber(microseconds)}
end)()"""


class RedisWorlds:
    """Makes the ledgers of worlds, one after the other, under one name."""

    def __init__(self, server: RedisServer, change: Callable[[str], str] = lambda text: text) -> None:
        """`change` the text of the scripts, such as to plant a bug."""
        self.real = RealTime()
        self._client = connect(server, f"worlds-{os.getpid()}-{next(NAMES)}")
        self._db = _TimedDatabase(self._client, lambda error: None, _change(load_scripts(CLOCK), change))

    def __call__(self, clock: Clock) -> RedisEngine:
        """Return an empty ledger with the time of a clock."""
        self._db.clock = clock
        self.real.run(self._client.run(lambda redis: redis.unlink(*self._db.keys)))
        return RedisEngine(self._db, self.real)

    def close(self) -> None:
        """Remove the keys."""
        self.real.run(self._client.run(lambda redis: redis.unlink(*self._db.keys)))
        self.real.run(self._client.close())


def _change(scripts: Mapping[str, LuaScript], change: Callable[[str], str]) -> Mapping[str, LuaScript]:
    return {name: LuaScript(change(script._text)) for name, script in scripts.items()}


@dataclass(frozen=True, slots=True)
class _RedisRecords:
    """The records of a ledger in Redis at one moment."""

    rows: dict[bytes, tuple[int, float]]  # state and time of the last change of each transfer
    leases: dict[bytes, tuple[float, float]]  # owner and fence of each destination that is leased
    letters: Sequence[DeadLetter]
    dumps: dict[str, bytes | None]  # all values, as the server stores them


class RedisEngine:
    """The ledger of one world in Redis."""

    def __init__(self, db: _TimedDatabase, real: RealTime) -> None:
        self._db, self._real = db, real

    def open(self, owner: str) -> Ledger:
        return AtomicLedger(RedisLedger(self._db, owner, LEASE), self._real)

    async def lose_second(self, forgotten: Forgotten) -> None:
        """Restore all keys, with fences and serials, as they were a second ago. The server's time goes on."""
        before = await self._read()
        await self._db.clock.sleep(LOSS)
        now = await self._read()
        for id_, row in now.rows.items():
            if row[0] >= SETTLED and before.rows.get(id_) != row:
                forgotten.transfers.add(id_.hex())
        for letter in now.letters:
            if letter.ref not in {known.ref for known in before.letters}:
                forgotten.letters.add(letter.id)
                forgotten.bodies.add(letter.body)
        for name, lease in now.leases.items():
            if before.leases.get(name) != lease:
                forgotten.claims.add((*split_place(name), int(lease[1])))
        self._real.run(self._db._client.run(lambda redis: self._restore(redis, before.dumps)))

    async def _read(self) -> _RedisRecords:
        letters = (await self.open("reader").list_dead_letters(Filter(), limit=1000)).items
        rows, places, dumps = self._real.run(self._db._client.run(self._fetch))
        leases = {name: lease for name, lease in places.items() if lease[0]}
        return _RedisRecords(rows, leases, letters, dumps)

    async def _fetch(self, redis: Any) -> tuple[dict[bytes, Any], dict[bytes, Any], dict[str, bytes | None]]:
        keys = dict(zip(KEYS, self._db.keys, strict=True))
        rows = {id_: (v[0], _UPDATED(v, 41)[0]) for id_, v in (await redis.hgetall(keys["transfers"])).items()}
        places = {name: _LEASE(v)[:2] for name, v in (await redis.hgetall(keys["places"])).items()}
        return rows, places, {key: await redis.dump(key) for key in self._db.keys}

    async def _restore(self, redis: Any, dumps: dict[str, bytes | None]) -> None:
        for key, dump in dumps.items():
            if dump is None:
                await redis.unlink(key)
            else:
                await redis.restore(key, 0, dump, replace=True)
