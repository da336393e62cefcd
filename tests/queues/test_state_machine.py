"""Whatever is done to them, the SQLite queue and the memory queue answer the same."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from skyferry.model import Priority
from skyferry.ports import Message, Outgoing
from skyferry.queues.memory import MemoryQueue, QueueState
from skyferry.queues.sqlite.queue import SqliteQueue
from skyferry.testing.clock import ManualClock

T = TypeVar("T")
LEASE = 30.0
SECONDS = st.sampled_from([0.0, 1.0, LEASE - 1, LEASE, 4000.0])
OUTGOING = st.builds(
    Outgoing,
    body=st.binary(max_size=4),
    attributes=st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=2).map(tuple),
    priority=st.sampled_from(Priority),
    delay=SECONDS,
    dedup_id=st.sampled_from(["", "a", "b", "a\0"]),
)
CLIENT = st.integers(0, 1)


class TwoQueues(RuleBasedStateMachine):
    """Two clients on each; `held` pairs what both have received, stale or not."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = ManualClock()
        self.state = QueueState()
        self.born = 0
        self.memory = [self.memory_client() for _ in range(2)]
        self.sqlite = [self.sqlite_client() for _ in range(2)]
        self.ids: dict[str, str] = {}  # sqlite's by memory's
        self.held: list[list[tuple[Message, Message]]] = [[], []]

    def memory_client(self) -> MemoryQueue:
        return MemoryQueue("q", self.clock, LEASE, self.state)

    def sqlite_client(self) -> SqliteQueue:
        self.born += 1
        return SqliteQueue(self.folder / "queue.db", "q", f"owner-{self.born}", self.clock, LEASE)

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    def teardown(self) -> None:
        for queue in self.sqlite:
            self.run(queue.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    @rule(client=CLIENT, messages=st.lists(OUTGOING, max_size=3))
    def send(self, client: int, messages: list[Outgoing]) -> None:
        ours = self.run(self.memory[client].send(messages))
        theirs = self.run(self.sqlite[client].send(messages))
        for mine, other in zip(ours, theirs, strict=True):
            assert self.ids.setdefault(mine, other) == other

    @rule(client=CLIENT, limit=st.integers(1, 6))
    def receive(self, client: int, limit: int) -> None:
        ours = self.run(self.memory[client].receive(limit, 0))
        theirs = self.run(self.sqlite[client].receive(limit, 0))
        assert [self.content(m, self.ids[m.id]) for m in ours] == [self.content(m, m.id) for m in theirs]
        self.held[client] += zip(ours, theirs, strict=True)

    @rule(client=CLIENT, data=st.data())
    def ack(self, client: int, data: st.DataObject) -> None:
        ours, theirs = self.some(client, data)
        self.run(self.memory[client].ack(ours))
        self.run(self.sqlite[client].ack(theirs))

    @rule(client=CLIENT, data=st.data())
    def extend(self, client: int, data: st.DataObject) -> None:
        ours, theirs = self.some(client, data)
        lost = [self.ids[m.id] for m in self.run(self.memory[client].extend(ours))]
        assert lost == [m.id for m in self.run(self.sqlite[client].extend(theirs))]

    @rule(client=CLIENT, data=st.data(), delay=SECONDS)
    def release(self, client: int, data: st.DataObject, delay: float) -> None:
        ours, theirs = self.some(client, data)
        self.run(self.memory[client].release(ours, delay))
        self.run(self.sqlite[client].release(theirs, delay))

    @rule(seconds=SECONDS)
    def pass_time(self, seconds: float) -> None:
        self.run(self.clock.advance(seconds))

    @rule(client=CLIENT)
    def restart(self, client: int) -> None:
        self.run(self.memory[client].close())
        self.run(self.sqlite[client].close())
        self.memory[client], self.sqlite[client] = self.memory_client(), self.sqlite_client()
        self.held[client].clear()

    @invariant()
    def as_full(self) -> None:
        assert self.run(self.memory[0].depth()) == self.run(self.sqlite[1].depth())

    def some(self, client: int, data: st.DataObject) -> tuple[list[Message], list[Message]]:
        """Of what the client received lately, in any order, stale ones too."""
        pairs = self.held[client][-4:]
        chosen = data.draw(st.lists(st.sampled_from(pairs), max_size=4)) if pairs else []
        return [ours for ours, _ in chosen], [theirs for _, theirs in chosen]

    @staticmethod
    def content(message: Message, name: str) -> tuple[object, ...]:
        m = message
        return (name, m.body, m.attributes, m.priority, m.attempt, round(m.enqueued_at, 3), round(m.lease_until, 3))


TestTwoQueues = TwoQueues.TestCase
TestTwoQueues.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
