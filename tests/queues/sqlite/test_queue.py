"""The SQLite queue keeps the contract, also across processes, deaths and restarts."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from skyferry.clock import SystemClock
from skyferry.errors import QueueError
from skyferry.ports import EventQueue, Message, Outgoing
from skyferry.queues.sqlite import queue as queue_module
from skyferry.queues.sqlite.queue import REAP, SQL, SqliteQueue
from skyferry.sqlite.inotify import watch_times
from skyferry.sqlite.owners import OwnerLock
from skyferry.sqlite.quiet_time import AGAIN, SOON, find_patience
from skyferry.testing.clock import ManualClock
from skyferry.testing.queue import QueueConformance, QueueHarness


class SqliteHarness(QueueHarness):
    """Clients on one file, each under a name of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = ManualClock()
        self.opened: list[SqliteQueue] = []

    async def open(self) -> EventQueue:
        owner = f"owner-{len(self.opened)}"
        self.opened.append(SqliteQueue(self.path, "sqlite", owner, self.clock, self.timing.lease))
        return self.opened[-1]

    async def pass_time(self, seconds: float) -> None:
        await self.settle()
        await self.clock.advance(seconds)
        await self.settle()

    async def settle(self) -> None:
        """Let what runs in the queues' threads come to its end: what comes after it in the same thread has ended."""
        for queue in self.opened:
            with suppress(QueueError):  # it is closed
                await queue.ack([])

    async def close(self) -> None:
        """Close all."""
        for queue in self.opened:
            await queue.close()


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteHarness]:
    """A new file."""
    harness = SqliteHarness(tmp_path / "queue.db")
    yield harness
    await harness.close()


async def start_receive(queue: EventQueue) -> asyncio.Task[list[Message]]:
    """Return a receive that has found nothing, and waits."""
    assert isinstance(queue, SqliteQueue)
    waiting = asyncio.create_task(queue.receive(1, 100.0))
    while not queue._notifier._waiting:
        await asyncio.sleep(0.001)
    return waiting


def has_notifications(folder: Path) -> bool:
    """Return True on Linux, unless all of a user's notifications are in use."""
    if (found := watch_times(folder)) is not None:
        found.close()
    return found is not None


class TestSqliteQueue(QueueConformance):
    """The contract."""

    @pytest.fixture
    def harness(self, sqlite: SqliteHarness) -> QueueHarness:
        return sqlite


@pytest.mark.parametrize("name", ["take", "lease", "promote", "due", "free", "held", "depth"])
async def test_no_statement_reads_the_backlog(sqlite: SqliteHarness, name: str) -> None:
    """What is hidden does not slow `receive`, nor what is ready the rest: each goes by an index of its own."""
    await sqlite.open()
    values = dict.fromkeys(("limit", "until", "owner", "now", "owners", "receipts"), 1)
    with closing(sqlite3.connect(sqlite.path)) as connection:
        plan = [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + SQL[name], values)]
    steps = [step for step in plan if re.search(r"\bmessage\b", step)]
    assert steps
    # The oldest is the first row of the table, and the first by rank the first entry of its index: one look each.
    assert [step for step in steps if "USING" not in step] == (["SCAN message"] if name == "depth" else [])


async def test_many_messages_become_due_at_once(sqlite: SqliteHarness) -> None:
    """More than one receive makes ready in one go, and none is forgotten."""
    queue = await sqlite.open()
    await queue.send([Outgoing(b"x", delay=10)] * 2500)
    await sqlite.pass_time(10)
    assert [len(await queue.receive(1000, 0)) for _ in range(4)] == [1000, 1000, 500, 0]


async def test_a_name_is_for_one_process(sqlite: SqliteHarness) -> None:
    """Two that are alive cannot share an owner's name: each would free what the other holds."""
    await sqlite.open()
    with pytest.raises(QueueError, match="owner-0"):
        SqliteQueue(sqlite.path, "again", "owner-0", sqlite.clock)


async def test_a_file_that_is_no_queue_is_refused(tmp_path: Path) -> None:
    """With the path in the error."""
    path = tmp_path / "queue.db"
    path.write_bytes(b"something else, and long enough for a header" * 100)
    with pytest.raises(QueueError, match=re.escape(str(path))):
        SqliteQueue(path, "q", "owner", ManualClock())


async def test_what_was_sent_outlives_the_process(sqlite: SqliteHarness) -> None:
    """After a restart, messages, numbers and counts go on where they stood."""
    queue = await sqlite.open()
    (first,) = await queue.send([Outgoing(b"x", dedup_id="d")])
    await queue.close()
    queue = await sqlite.open()
    assert (await queue.depth()).ready == 1
    assert await queue.send([Outgoing(b"y", dedup_id="d")]) == [first]
    await queue.ack(await queue.receive(1, 0))
    assert await queue.send([Outgoing(b"z", dedup_id="d")]) != [first]


async def test_a_receiver_that_waits_takes_no_transaction_until_the_file_changes(tmp_path: Path) -> None:
    """An idle service would otherwise lock the file five times a second. What another process sends comes at the next look."""
    clock = SystemClock()
    mine, other = (SqliteQueue(tmp_path / "q.db", "q", owner, clock) for owner in ("mine", "other"))
    taken, take = 0, mine._take

    async def count(limit: int) -> list[Message]:
        nonlocal taken
        taken += 1
        return await take(limit)

    mine._take = count  # type: ignore[method-assign]  # counts the calls
    assert await mine.receive(1, 1.0) == []
    assert taken <= 3, "when it begins, when it has found where the file stands, and at the end"
    taken, waiting = 0, asyncio.create_task(mine.receive(1, 30.0))
    await asyncio.sleep(0.3)
    await other.send([Outgoing(b"x")])
    assert [message.body for message in await waiting] == [b"x"]
    assert taken <= 3
    for queue in (mine, other):
        await queue.close()


async def test_after_the_last_message_the_file_is_not_asked_until_the_next_one_is_announced(
    sqlite: SqliteHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise each receive of a worker that keeps up asks twice: for the messages, and for none."""
    mine, other = await sqlite.open(), await sqlite.open()
    asked, take = 0, SqliteQueue._take

    async def count(self: SqliteQueue, limit: int) -> list[Message]:
        nonlocal asked
        asked += 1
        return await take(self, limit)

    monkeypatch.setattr(SqliteQueue, "_take", count)
    await other.send([Outgoing(b"x")])
    assert len(await mine.receive(2, 0)) == 1
    waiting = await start_receive(mine)
    assert asked == 1
    await other.send([Outgoing(b"y")])
    assert [message.body for message in await asyncio.wait_for(waiting, 30)] == [b"y"]
    assert len(await mine.receive(2, 0)) == 0
    assert asked == 3, "a receive that has got all that it may have cannot know whether there is more"


async def test_a_message_that_is_due_later_is_received_then_although_others_came_first(sqlite: SqliteHarness) -> None:
    """It is not announced again."""
    queue = await sqlite.open()
    await queue.send([Outgoing(b"later", delay=REAP / 2), Outgoing(b"now")])
    assert [message.body for message in await queue.receive(2, 0)] == [b"now"]
    waiting = await start_receive(queue)
    await sqlite.pass_time(REAP / 2)
    assert [message.body for message in await asyncio.wait_for(waiting, 30)] == [b"later"]


async def test_an_announcement_is_seen_by_the_next_turn(sqlite: SqliteHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A receive that waited for the turn of a sender finds its messages, and is not woken for them once more."""
    mine, other = await sqlite.open(), await sqlite.open()
    presence = sqlite.opened[0]._file.presence
    held, announce = list[bool](), OwnerLock.announce

    def announce_in_turn(self: OwnerLock) -> None:
        turn = os.open(presence.folder, os.O_RDONLY)
        try:
            with suppress(BlockingIOError):
                fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held.append(False)
                return
            held.append(True)
        finally:
            os.close(turn)
        announce(self)

    monkeypatch.setattr(OwnerLock, "announce", announce_in_turn)
    await other.send([Outgoing(b"x")])
    assert held == [True]

    assert len(await mine.receive(2, 0)) == 1
    await sqlite.settle()
    with sqlite.opened[1]._file.presence.take_turn():
        looking = asyncio.create_task(sqlite.opened[0]._take(2))
        while presence._waiting_since is None:
            await asyncio.sleep(0.001)
        announce(sqlite.opened[1]._file.presence)
    await looking
    assert not sqlite.opened[0]._is_announced()


async def test_what_another_process_sends_wakes_a_receiver_without_looks(sqlite: SqliteHarness) -> None:
    """No time passes on the clock of the receiver: only a notification can wake it."""
    if not has_notifications(sqlite.path.parent):
        pytest.skip("the system has no notifications")
    mine, other = await sqlite.open(), await sqlite.open()
    waiting = await start_receive(mine)
    await other.send([Outgoing(b"x")])
    assert [message.body for message in await asyncio.wait_for(waiting, 30)] == [b"x"]
    await mine.send([Outgoing(b"y")])
    leased = await other.receive(1, 0)
    waiting = await start_receive(mine)
    await other.release(leased, 0.0)
    assert [message.body for message in await asyncio.wait_for(waiting, 30)] == [b"y"], "a released one, too"


async def test_the_end_of_own_work_wakes_no_other_process(sqlite: SqliteHarness) -> None:
    """Of several workers, each would otherwise ask the file after each acknowledgement of another."""
    mine, other = await sqlite.open(), await sqlite.open()
    await other.send([Outgoing(b"x")])
    held = await other.receive(1, 0)
    before = sqlite.opened[0]._file.presence.find_last_announcement()
    await other.extend(held)
    await other.ack(held)
    assert await mine.receive(1, 0) == []
    assert sqlite.opened[0]._file.presence.find_last_announcement() == before


async def test_what_no_process_announces_is_found_within_seconds(
    sqlite: SqliteHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notification may get lost, and other versions of the program send none."""
    monkeypatch.setattr(OwnerLock, "announce", lambda self: None)
    mine, other = await sqlite.open(), await sqlite.open()
    waiting = await start_receive(mine)
    await other.send([Outgoing(b"x")])
    await sqlite.pass_time(AGAIN)
    assert [message.body for message in await asyncio.wait_for(waiting, 30)] == [b"x"]


def count_writes(queue: EventQueue, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list that grows with each transaction of a queue."""
    assert isinstance(queue, SqliteQueue)
    file, found = queue._file, list[float]()
    write = file.write

    async def counted(*args: Any, **options: Any) -> Any:
        found.append(queue._clock.time())
        return await write(*args, **options)

    monkeypatch.setattr(file, "write", counted)
    return found


async def test_an_empty_file_is_not_asked_again_until_a_message_is_announced(
    sqlite: SqliteHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not within five seconds: each transaction wakes a thread."""
    mine, other = await sqlite.open(), await sqlite.open()
    writes = count_writes(mine, monkeypatch)
    for _ in range(4):
        assert await mine.receive(1, 0) == []
        await sqlite.clock.advance(AGAIN / 5)
    assert len(writes) == 1
    await other.send([Outgoing(b"x"), Outgoing(b"y")])
    assert [[m.body for m in await mine.receive(1, 0)] for _ in range(3)] == [[b"x"], [b"y"], []]


async def test_messages_of_others_are_looked_at_each_second(
    sqlite: SqliteHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their process may die, which announces nothing."""
    mine, other = await sqlite.open(), await sqlite.open()
    await other.send([Outgoing(b"x")])
    assert len(await other.receive(1, 0)) == 1
    writes = count_writes(mine, monkeypatch)
    for _ in range(3):
        assert await mine.receive(1, 0) == []
        await sqlite.clock.advance(REAP)
    assert len(writes) == 3


def test_a_filesystem_with_coarse_times_is_looked_at_more_often() -> None:
    assert (find_patience(1_796_000_000_123_456_789), find_patience(1_796_000_000_000_000_000)) == (AGAIN, SOON)


async def test_notifications_end_with_the_queue(sqlite: SqliteHarness) -> None:
    """Their descriptor is closed, also while a receive waits."""
    before = len(os.listdir("/dev/fd"))
    queue = await sqlite.open()
    waiting = await start_receive(queue)
    await queue.close()
    assert await asyncio.wait_for(waiting, 30) == []
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize(("quiet", "patience"), [(0.0, 0.03), (5.0, 0.25)])
async def test_without_notifications_announcements_are_looked_for_more_often_while_messages_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quiet: float, patience: float
) -> None:
    """Every hundredth of a second, and five times a second once it is quiet."""
    monkeypatch.setattr(queue_module, "watch_times", lambda folder: None)
    harness = SqliteHarness(tmp_path / "q.db")
    mine, other = await harness.open(), await harness.open()
    await other.send([Outgoing(b"first")])
    assert len(await mine.receive(1, 0)) == 1
    await harness.pass_time(quiet)
    waiting = await start_receive(mine)
    await other.send([Outgoing(b"second")])
    for _ in range(5):
        await harness.pass_time(patience / 5)
        await asyncio.sleep(0.01)
    assert waiting.done() or (await asyncio.wait([waiting], timeout=10))[0], "no further time has to pass"
    await harness.close()
