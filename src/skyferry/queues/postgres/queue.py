"""A queue in PostgreSQL, so that a fleet needs one service only.

A URL carries `postgresql://[USER@]HOST[:PORT]/DATABASE/QUEUE?schema=SCHEMA`. All queues of a schema are rows of one table, which
the first client makes. Times are the server's. Receivers take rows with SKIP LOCKED, wait with LISTEN, and poll where notifications
do not arrive. No transaction lasts longer than one statement.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import asyncpg
import orjson

from skyferry.errors import QueueError, QueueIncompatible
from skyferry.model import HEAD_START, Priority, QueueTraits
from skyferry.ports import Clock, Depth, Message, Outgoing
from skyferry.ports.inspection import QueueFacts, Unknown, Wrong
from skyferry.postgres.errors import ABORTED
from skyferry.postgres.pool import Connection, PostgresPool
from skyferry.postgres.rights import RIGHTS, find_lacking_rights
from skyferry.postgres.schema import (
    SchemaState,
    complete_statement,
    ensure_schema,
    quote_name,
    read_schema_state,
)
from skyferry.postgres.server_settings import find_unsafe_settings
from skyferry.queues.notifier import Notifier
from skyferry.queues.postgres.inspection import inspect
from skyferry.queues.postgres.listener import ChannelListener
from skyferry.queues.postgres.scheme import TRAITS
from skyferry.queues.text_envelope import parse_attributes
from skyferry.sql import load_statements
from skyferry.sql.schema_steps import load_history

T = TypeVar("T")
SQL = load_statements(__package__, "statements.sql")
TABLE = "message"
HISTORY = load_history(__package__, "queues", TABLE, QueueIncompatible)
POLL = 1.0  # seconds between looks without notifications
LISTENING = 30.0  # seconds between looks with them: what a notification missed
RECEIVING = ("SELECT", "UPDATE", "DELETE")  # rights on the table
COUNTED = 100_000  # messages of one kind that `depth` counts at most


class PostgresQueue:
    """An `EventQueue` in one table."""

    traits: QueueTraits = TRAITS

    def __init__(
        self,
        name: str,
        pool: PostgresPool[QueueError],
        owner: str,
        clock: Clock,
        lease: float = 30.0,
        poll: float = POLL,
    ) -> None:
        """Take over the pool. `owner` names this process in leases; `lease` and `poll` are in seconds."""
        self.name, self.lease = name, lease
        self._pool, self._owner, self._clock, self._poll = pool, owner, clock, poll
        self._queue = pool.address.names[0]
        self._schema, schema = pool.address.schema, quote_name(pool.address.schema)
        self._table = f"{schema}.{TABLE}"
        self._sql = {key: complete_statement(sql, self._schema) for key, sql in SQL.items()}
        self._channel = "skyferry_" + hashlib.sha256(f"{schema}/{self._queue}".encode()).hexdigest()[:32]
        self._notifier = Notifier()
        self._listener = ChannelListener(pool, self._channel, self._notifier.notify, clock)
        self._heard, self._due = 0, 0.0  # of the last look: notifications before it, and when the next one is due
        self._made = False
        self._making = asyncio.Lock()

    async def receive(self, limit: int, wait: float) -> list[Message]:
        """See `EventQueue`. What a cancelled call had leased comes again when the lease ends, or when this object is closed."""
        was_open = not self._pool.closed
        try:
            return await self._receive(limit, self._clock.monotonic() + wait, listens=wait > 0)
        except QueueError:
            if was_open and self._pool.closed:  # during one of its statements
                return []
            raise

    async def _receive(self, limit: int, deadline: float, *, listens: bool) -> list[Message]:
        if listens and not self._pool.address.pooler:
            self._listener.start()
        while True:
            count = self._notifier.count
            if not (
                listens and self._listener.listening and count == self._heard and self._clock.monotonic() < self._due
            ):
                began = self._clock.monotonic()
                batch = await self._take(limit)
                if batch or deadline <= self._clock.monotonic():
                    self._due = 0.0
                    return batch
                self._heard, self._due = count, began + await self._find_pause()
            if (left := deadline - self._clock.monotonic()) <= 0:
                return []
            await self._notifier.wait(count, self._clock, max(0.0, min(left, self._due - self._clock.monotonic())))
            if self._pool.closed:
                return []

    async def _find_pause(self) -> float:
        """Return the seconds until the next look, unless a notification comes."""
        due = await self._run(lambda connection: connection.fetchval(self._sql["due"], self._queue, POLL))
        pause = LISTENING if self._listener.listening else self._poll
        return pause if due is None else min(pause, due)

    async def extend(self, messages: Sequence[Message], seconds: float = 0.0) -> list[Message]:
        """See `EventQueue`."""
        arguments = (*_leases(messages), max(self.lease, seconds))
        rows = await self._run(lambda connection: connection.fetch(self._sql["extend"], self._queue, *arguments))
        held = {_format_receipt(*row) for row in rows}
        return [message for message in messages if message.receipt not in held]

    async def ack(self, messages: Sequence[Message]) -> None:
        """See `EventQueue`."""
        leases = _leases(messages)
        await self._run(lambda connection: connection.execute(self._sql["ack"], self._queue, *leases))

    async def release(self, messages: Sequence[Message], delay: float) -> None:
        """See `EventQueue`."""
        arguments = (*_leases(messages), float(delay), self._channel)
        await self._run(lambda connection: connection.execute(self._sql["release"], self._queue, *arguments))
        self._notifier.notify()

    async def send(self, messages: Sequence[Outgoing]) -> list[str]:
        """See `EventQueue`."""
        if not messages:
            return []
        columns = (
            [message.body for message in messages],
            [orjson.dumps(message.attributes).decode() for message in messages],
            [str(message.priority) for message in messages],
            [float(HEAD_START[message.priority]) for message in messages],
            [float(message.delay) for message in messages],
        )
        dedup = [message.dedup_id.encode("utf-8", "surrogatepass") or None for message in messages]
        if any(dedup):
            ids = await self._run(lambda connection: self._send_once(connection, columns, dedup))
        else:
            arguments = (self._queue, *columns, self._channel)
            rows = await self._run(lambda connection: connection.fetch(self._sql["send"], *arguments))
            ids = [row["id"] for row in rows]
        self._notifier.notify()
        return [str(number) for number in ids]

    async def depth(self) -> Depth:
        """See `EventQueue`. Each number is at most COUNTED, so that a backlog does not slow it down. It creates no table."""
        if not (self._made or (await self._read_state()).version):
            return Depth(0, 0, 0, 0.0)
        row = await self._try(lambda connection: connection.fetchrow(self._sql["depth"], self._queue, COUNTED))
        ready, leased, delayed, age = row
        return Depth(min(ready, COUNTED), leased, delayed, 0.0 if age is None else max(0.0, age))

    async def inspect(self) -> QueueFacts:
        """See `InspectableQueue`."""
        row = await self._try(lambda connection: connection.fetchrow(self._sql["facts"], self._table))
        tables = HISTORY.logged_tables
        unsafe = await self._pool.run(lambda connection: find_unsafe_settings(connection, self._schema, tables))
        state = await self._read_state()
        lacking = await self._find_lacking_rights(RECEIVING)
        return inspect(self._pool.address, dict(row), state, [*unsafe, *([lacking] if lacking else [])], self.traits)

    async def sends(self) -> bool | Unknown:
        """See `InspectableQueue`."""
        row = await self._pool.run(lambda connection: connection.fetchrow(self._sql["facts"], self._table))
        state = await self._read_state()
        return bool(row["sends"]) if state.version else state.may_apply

    async def close(self) -> None:
        """End the leases of this client at once, and close its connections. A waiting `receive` returns []."""
        if self._pool.closed:
            return
        try:
            if self._made:
                arguments = (self._queue, self._owner, self._channel)
                await self._run(lambda connection: connection.execute(self._sql["free"], *arguments))
        finally:
            await self._listener.close()
            await self._pool.close()
            self._notifier.notify()

    async def _take(self, limit: int) -> list[Message]:
        until = self._clock.time() + self.lease
        owner = f"{self._owner}/{secrets.token_hex(8)}"
        arguments = (self._queue, limit, self.lease, owner)
        rows = await self._run(lambda connection: connection.fetch(self._sql["take"], *arguments))
        return [_message(row, owner, until) for row in rows]

    async def _send_once(
        self, connection: Connection, columns: tuple[Any, ...], dedup: list[bytes | None]
    ) -> list[int]:
        """Send with dedup ids. A message that another client adds in this moment is looked up once it is visible."""
        rows = await connection.fetch(self._sql["send_once"], self._queue, *columns, self._channel, dedup, self._table)
        ids = [row["id"] for row in rows]
        for number, found in enumerate(ids):
            if found is None:
                ids[number] = await connection.fetchval(self._sql["find"], self._queue, dedup[number])
        if None in ids:
            raise QueueError("a message with the same dedup id was just acknowledged; send it again", where=self.name)
        return ids

    async def _read_state(self) -> SchemaState:
        return await self._pool.run(lambda connection: read_schema_state(connection, self._schema, HISTORY))

    async def _run(self, call: Callable[[Connection], Awaitable[T]]) -> T:
        if not self._made:
            async with self._making:
                if not self._made:
                    await self._pool.run(lambda connection: ensure_schema(connection, self._schema, HISTORY))
                    self._made = True
        return await self._try(call)

    async def _try(self, call: Callable[[Connection], Awaitable[T]]) -> T:
        """Run a call. Its error names the rights that the role lacks on the table, and the grant."""

        async def repeat(connection: Connection) -> T:
            try:
                return await call(connection)
            except ABORTED:  # another could go on; a stricter isolation of the database would do it again
                async with connection.transaction(isolation="read_committed"):
                    return await call(connection)

        try:
            return await self._pool.run(repeat)
        except QueueError as error:
            if isinstance(error.__cause__, asyncpg.InsufficientPrivilegeError) and (
                wrong := await self._find_lacking_rights(RIGHTS)
            ):
                raise QueueError(wrong.what, where=self.name, hint=wrong.hint, transient=False) from error
            raise

    async def _find_lacking_rights(self, rights: Sequence[str]) -> Wrong | None:
        return await self._pool.run(lambda connection: find_lacking_rights(connection, self._schema, HISTORY, rights))


def _format_receipt(number: int, attempt: int, owner: str) -> str:
    return f"{number},{attempt},{owner}"


def _leases(messages: Sequence[Message]) -> tuple[list[int], list[int], list[str]]:
    """Return ids, attempts and owners."""
    parts = [message.receipt.split(",", 2) for message in messages]
    return [int(part[0]) for part in parts], [int(part[1]) for part in parts], [part[2] for part in parts]


def _message(row: Any, owner: str, until: float) -> Message:
    number, body, attributes, priority, sent, attempt = row
    return Message(
        id=str(number),
        body=body,
        receipt=_format_receipt(number, attempt, owner),
        attempt=attempt,
        enqueued_at=sent,
        lease_until=until,
        attributes=() if attributes == "[]" else parse_attributes(attributes),
        priority=Priority(priority) if priority in HEAD_START else Priority.NORMAL,
    )
