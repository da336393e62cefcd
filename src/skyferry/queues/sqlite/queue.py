"""A durable queue in one SQLite file, shared by any number of processes on one machine.

One queue is one file, and never the ledger's: each file has one writer at a time, so that what settles in the ledger
and what comes and goes in the queues are flushed at the same time and not one after the other; and the file of a queue
that is gone can simply be deleted.

Only what is sent is flushed to the disk. A loss of power may bring back leases, and messages whose ack was the last that
happened: the ledger, whose settlements are flushed before any ack, knows them.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Any

import orjson

from skyferry.errors import QueueError, QueueIncompatible
from skyferry.model import HEAD_START, Priority, QueueTraits
from skyferry.ports import Clock, Depth, Message, Outgoing
from skyferry.queues.notifier import Notifier
from skyferry.sql import load_statements
from skyferry.sql.schema_steps import load_history
from skyferry.sqlite.file import OnHealth, SqliteFile
from skyferry.sqlite.inotify import Inotify, watch_times
from skyferry.sqlite.owners import OwnerLock
from skyferry.sqlite.quiet_time import find_patience

POLL = 0.2  # seconds between looks for announcements of other processes, on a system without notifications
SOON = 0.01  # the same while messages come, for so many seconds after the last one:
BUSY = 2.0
REAP = 1.0  # seconds between looks for dead processes, while messages are leased
CACHE = (
    8 * 2**20
)  # bytes of cached pages: messages are appended and taken in order, so more would only grow with the backlog


SQL = load_statements(__package__, "statements.sql")
HISTORY = load_history(__package__, "queues", "message", QueueIncompatible)


class SqliteQueue:
    """An `EventQueue` in a file.

    The messages of a process that died come to the others within seconds, those of one that closes at once. A process that sends
    announces it (see `OwnerLock.announce`), and wakes the receivers of the others. One that does not is noticed within seconds.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        owner: str,
        clock: Clock,
        lease: float = 30.0,
        on_health: OnHealth = lambda error: None,
    ) -> None:
        """Open or create `path`. `owner` names this process and MUST be unique on this machine; `lease` is in seconds.

        `on_health` is called with each QueueError, and with None once the queue works again.
        """
        self.name = name
        self.lease = lease
        self.traits = QueueTraits()
        self._owner = owner
        self._clock = clock
        self._notifier = Notifier()
        self._file = SqliteFile(path, HISTORY, owner, QueueError, self._opened, on_health, CACHE)
        self._reap_at = clock.monotonic()
        self._busy_until = 0.0  # monotonic seconds
        self._announced = -1  # mark of the last announcement before the last turn of this object to look at the file
        self._noticed = 0  # notifications in this process before the last look has ended
        self._look_at = -inf  # when to look again (monotonic seconds), although nothing was announced
        self._notifications: Inotify | None = None
        self._watched = False  # notifications were opened, or there are none

    async def receive(self, limit: int, wait: float) -> list[Message]:
        """See `EventQueue`. What a cancelled call had leased comes again when the lease ends, or when this object is closed."""
        deadline = self._clock.monotonic() + wait
        self._watch()
        while True:
            batch = [] if self._is_exhausted() else await self._take(limit)
            now = self._clock.monotonic()
            if batch:
                self._busy_until = now + BUSY
            left = deadline - now
            if batch or left <= 0:
                return batch
            pace = inf if self._notifications else SOON if now < self._busy_until else POLL
            seconds = min(left, self._look_at - now)
            await self._notifier.wait(self._noticed, self._clock, seconds, self._is_announced, pace)
            if self._file.closed:
                return []

    async def extend(self, messages: Sequence[Message], seconds: float = 0.0) -> list[Message]:
        """See `EventQueue`."""
        receipts = _receipts(messages)

        def operation(connection: sqlite3.Connection) -> str:
            held = _one(connection, "held", receipts=receipts)
            _run(connection, "extend", held=held, until=self._clock.time() + max(self.lease, seconds))
            return str(held)

        held = {f"{seq},{attempt}" for seq, attempt in orjson.loads(await self._file.write(operation, flush=False))}
        return [message for message in messages if message.receipt not in held]

    async def ack(self, messages: Sequence[Message]) -> None:
        """See `EventQueue`."""
        receipts = _receipts(messages)

        def operation(connection: sqlite3.Connection) -> None:
            removed = _run(connection, "remove", held=_one(connection, "held", receipts=receipts)).rowcount
            _run(connection, "count", change=-removed)

        await self._file.write(operation, flush=False)

    async def release(self, messages: Sequence[Message], delay: float) -> None:
        """See `EventQueue`."""
        receipts = _receipts(messages)

        def operation(connection: sqlite3.Connection) -> None:
            held = _one(connection, "held", receipts=receipts)
            _run(connection, "release", held=held, now=self._clock.time(), delay=delay)

        await self._file.write(operation, flush=False, announce=True)
        self._notifier.notify()

    async def send(self, messages: Sequence[Outgoing]) -> list[str]:
        """See `EventQueue`."""
        rows = orjson.dumps([_row(message) for message in messages]).decode()
        count, dedup = len(messages), any(message.dedup_id for message in messages)

        def operation(connection: sqlite3.Connection) -> list[int]:
            first = _one(connection, "reserve", count=count)
            inserted = _run(connection, "insert", first=first, now=self._clock.time(), messages=rows).rowcount
            if inserted < count:
                _run(connection, "count", change=inserted - count)
            if not dedup:
                return list(range(first, first + count))
            return list(orjson.loads(_one(connection, "ids", first=first, messages=rows)))

        ids = await self._file.write(operation, announce=True)
        self._notifier.notify()
        return [str(number) for number in ids]

    async def depth(self) -> Depth:
        """See `EventQueue`."""
        now = self._clock.time()
        return await self._file.read(lambda connection: read_depth(connection, now))

    async def close(self) -> None:
        """End the leases of this client at once, and close the file. A waiting `receive` returns []."""
        if self._file.closed:
            return
        try:
            await self._file.write(lambda connection: _free(connection, [self._owner]), announce=True)
        finally:
            self._unwatch()
            await self._file.close()
            self._notifier.notify()

    def _watch(self) -> None:
        """Let announcements of other processes wake the receivers, where the system has notifications. Only once."""
        if not self._watched:
            self._watched, self._notifications = True, watch_times(self._file.presence.folder)
            if self._notifications:
                asyncio.get_running_loop().add_reader(self._notifications.descriptor, self._wake)

    def _unwatch(self) -> None:
        self._watched = True
        if self._notifications:
            asyncio.get_running_loop().remove_reader(self._notifications.descriptor)
            self._notifications.close()
            self._notifications = None

    def _wake(self) -> None:
        """Wake the receivers, unless they have looked at the file since the announcement."""
        assert self._notifications is not None  # or the event loop would not call it
        self._notifications.read()
        if self._is_announced():
            self._notifier.notify()

    def _is_exhausted(self) -> bool:
        """Return True if the last look has found all messages, and it is known without another one that none has come."""
        noticed = self._notifier.count != self._noticed or self._is_announced()
        return not noticed and self._clock.monotonic() < self._look_at

    def _is_announced(self) -> bool:
        """Return True if a process has announced messages that the last look at the file did not find. It costs microseconds."""
        return self._find_last_announcement() != self._announced

    def _find_last_announcement(self) -> int:
        return -1 if self._file.closed else self._file.presence.find_last_announcement()

    def _opened(self, connection: sqlite3.Connection, presence: OwnerLock) -> None:
        """Free the leases of dead owners, also of one with this name: no other live process has it."""
        _free(connection, [self._owner, *presence.find_dead()])

    async def _take(self, limit: int) -> list[Message]:
        """Lease up to `limit` messages."""
        if reap := self._clock.monotonic() >= self._reap_at:
            self._reap_at = self._clock.monotonic() + REAP

        def operation(connection: sqlite3.Connection) -> tuple[list[Message], float, list[str], int]:
            announced = self._file.presence.find_last_announcement()  # in the turn, so that all of it is found
            _free(connection, dead := self._file.presence.find_dead() if reap else [])
            now = self._clock.time()
            _run(connection, "promote", now=now)
            until, batch = now + self.lease, list[Message]()
            if (rows := _one(connection, "take", limit=limit)) != "[]":
                _run(connection, "lease", limit=limit, until=until, owner=self._owner)
                batch = [_message(row, until) for row in orjson.loads(rows)]
            due = now if len(batch) == limit else _one(connection, "due") or inf
            return batch, due, dead, announced

        batch, due, dead, self._announced = await self._file.write(operation, flush=False)
        self._noticed = self._notifier.count
        # While messages are hidden, their process may die and free them.
        patience = find_patience(self._announced) if due == inf else min(due - self._clock.time(), REAP)
        self._look_at = self._clock.monotonic() + patience
        if dead:
            await asyncio.to_thread(self._file.presence.forget, dead)
        return batch


def read_depth(connection: sqlite3.Connection, now: float) -> Depth:
    """Return the numbers of messages."""
    total, leased, delayed, oldest = _run(connection, "depth", now=now).fetchone()
    age = 0.0 if oldest is None else max(now - oldest, 0.0)
    return Depth(ready=total - leased - delayed, leased=leased, delayed=delayed, oldest_age=age)


def _run(connection: sqlite3.Connection, name: str, **values: object) -> sqlite3.Cursor:
    return connection.execute(SQL[name], values)


def _one(connection: sqlite3.Connection, name: str, **values: object) -> Any:
    """Return the only column of the only row."""
    cursor = _run(connection, name, **values)
    (value,) = cursor.fetchone()
    cursor.close()
    return value


def _free(connection: sqlite3.Connection, owners: list[str]) -> None:
    if owners:
        _run(connection, "free", owners=orjson.dumps(owners).decode())


def _receipts(messages: Sequence[Message]) -> str:
    """Return the receipts as JSON; each is `seq,attempt`."""
    return "[" + ",".join(f"[{message.receipt}]" for message in messages) + "]"


def _row(message: Outgoing) -> list[object]:
    try:
        text = message.body.decode()
        plain = "\0" not in text
    except UnicodeDecodeError:
        plain = False
    body = text if plain else message.body.hex()
    row = [body, not plain, message.attributes, message.priority, HEAD_START[message.priority], message.delay]
    return [*row, message.dedup_id] if message.dedup_id else row


def _message(row: list[Any], until: float) -> Message:
    seq, attempt, body, is_hex, enqueued_at, attributes, priority = row
    return Message(
        id=str(seq),
        body=bytes.fromhex(body) if is_hex else body.encode(),
        receipt=f"{seq},{attempt}",
        attempt=attempt,
        enqueued_at=enqueued_at,
        lease_until=until,
        attributes=tuple((name, value) for name, value in attributes),
        priority=Priority(priority),
    )
