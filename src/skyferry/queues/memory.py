"""A queue in memory, for tests, simulations and trials. It keeps every promise but durability, for as long as its state lives."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import field
from enum import Enum, auto

from skyferry.errors import QueueError
from skyferry.frozen import dataclass
from skyferry.model import HEAD_START, QueueTraits
from skyferry.ports import Clock, Depth, Message, Outgoing
from skyferry.queues.notifier import Notifier


class _MessageState(Enum):
    __hash__ = object.__hash__  # that of Enum is written in Python, and counts are looked up ten times per message

    READY = auto()
    LEASED = auto()
    DELAYED = auto()


@dataclass(slots=True)
class _Entry:
    serial: int
    sent: Outgoing
    enqueued_at: float
    state: _MessageState = _MessageState.READY
    until: float = 0.0  # hidden until then
    attempt: int = 0
    receipt: str = ""  # of the last attempt
    holder: object = None  # the last receiver, until it releases the message


@dataclass(slots=True)
class QueueState:
    """The queue behind its clients: several `MemoryQueue`s with the same state are workers on one durable queue."""

    notifier: Notifier = field(default_factory=Notifier)
    _entries: dict[str, _Entry] = field(default_factory=dict)  # by id, in the order sent
    _ids: dict[str, str] = field(default_factory=dict)  # by dedup id
    _count: dict[_MessageState, int] = field(default_factory=lambda: dict.fromkeys(_MessageState, 0))
    # Heaps of (rank or time, serial, id). Outdated entries of a message are skipped.
    _ready: list[tuple[float, int, str]] = field(default_factory=list)
    _hidden: list[tuple[float, int, str]] = field(default_factory=list)
    _serial: int = 0

    def add(self, message: Outgoing, now: float) -> str:
        """Add a message. Return its id, or that of the message with the same dedup id."""
        if message.dedup_id in self._ids:
            return self._ids[message.dedup_id]
        self._serial += 1
        name, entry = str(self._serial), _Entry(self._serial, message, now)
        self._entries[name] = entry
        if message.dedup_id:
            self._ids[message.dedup_id] = name
        self._count[entry.state] += 1
        self._put(name, entry, now, message.delay)
        return name

    def take(self, limit: int, until: float, holder: object) -> Iterator[Message]:
        """Lease the first `limit` ready messages."""
        while limit > 0 and self._ready:
            _, _, name = heapq.heappop(self._ready)
            entry = self._entries.get(name)
            if entry is None or entry.state is not _MessageState.READY:
                continue
            limit -= 1
            entry.attempt += 1
            entry.receipt, entry.holder = f"{name}.{entry.attempt}", holder
            self._hide(name, entry, _MessageState.LEASED, until)
            yield _message(name, entry)

    def wake(self, now: float) -> float | None:
        """Make due messages ready. Return when the next one is due."""
        while self._hidden:
            until, _, name = self._hidden[0]
            entry = self._entries.get(name)
            current = entry is not None and entry.state is not _MessageState.READY and entry.until == until
            if current and until > now:
                return until
            heapq.heappop(self._hidden)
            if entry is not None and current:
                self._show(name, entry)
        return None

    def extend(self, message: Message, until: float) -> bool:
        """Extend the lease. Return False if it was lost."""
        if (entry := self._held(message)) is None:
            return False
        self._hide(message.id, entry, _MessageState.LEASED, until)
        return True

    def remove(self, message: Message) -> None:
        """Delete a message whose lease is valid."""
        if self._held(message) is not None:
            self.lose(message.id)

    def lose(self, message_id: str) -> bool:
        """Delete a message, leased or not, as if the queue were purged. Return False if it does not exist."""
        if (entry := self._entries.pop(message_id, None)) is None:
            return False
        self._ids.pop(entry.sent.dedup_id, None)
        self._count[entry.state] -= 1
        return True

    def release(self, message: Message, now: float, delay: float) -> None:
        """Release a message whose lease is valid."""
        if (entry := self._held(message)) is not None:
            entry.holder = None
            self._put(message.id, entry, now, delay)

    def free(self, holder: object) -> None:
        """End all leases of a client."""
        for name, entry in self._entries.items():
            if entry.holder is holder:
                entry.holder = None
                if entry.state is _MessageState.LEASED:
                    self._show(name, entry)

    def depth(self, now: float) -> Depth:
        """Return the numbers of messages."""
        oldest = next(iter(self._entries.values()), None)
        return Depth(
            ready=self._count[_MessageState.READY],
            leased=self._count[_MessageState.LEASED],
            delayed=self._count[_MessageState.DELAYED],
            oldest_age=max(now - oldest.enqueued_at, 0.0) if oldest else 0.0,
        )

    def _held(self, message: Message) -> _Entry | None:
        entry = self._entries.get(message.id)
        held = entry is not None and entry.holder is not None and entry.receipt == message.receipt
        return entry if held else None

    def _put(self, name: str, entry: _Entry, now: float, delay: float) -> None:
        if delay > 0:
            self._hide(name, entry, _MessageState.DELAYED, now + delay)
        else:
            self._show(name, entry)

    def _show(self, name: str, entry: _Entry) -> None:
        self._move(entry, _MessageState.READY)
        rank = entry.enqueued_at - HEAD_START[entry.sent.priority]
        heapq.heappush(self._ready, (rank, entry.serial, name))

    def _hide(self, name: str, entry: _Entry, state: _MessageState, until: float) -> None:
        self._move(entry, state)
        entry.until = until
        heapq.heappush(self._hidden, (until, entry.serial, name))
        if len(self._hidden) > 1000 + 4 * (self._count[_MessageState.LEASED] + self._count[_MessageState.DELAYED]):
            self._sweep()

    def _sweep(self) -> None:
        """Drop outdated entries of the heap, which acks and extensions leave behind."""
        hidden = ((n, e) for n, e in self._entries.items() if e.state is not _MessageState.READY)
        self._hidden = [(e.until, e.serial, n) for n, e in hidden]
        heapq.heapify(self._hidden)

    def _move(self, entry: _Entry, state: _MessageState) -> None:
        self._count[entry.state] -= 1
        self._count[state] += 1
        entry.state = state


class MemoryQueue:
    """An `EventQueue` on a `QueueState`. Deterministic: no threads, no randomness, time only from `clock`."""

    def __init__(self, name: str, clock: Clock, lease: float = 30.0, state: QueueState | None = None) -> None:
        """`lease` is in seconds; without `state` the queue is not shared."""
        self.name = name
        self.lease = lease
        self.traits = QueueTraits()
        self._clock = clock
        self._state = QueueState() if state is None else state
        self._closed = False

    async def receive(self, limit: int, wait: float) -> list[Message]:
        """See `EventQueue`."""
        await self._step()
        deadline = self._clock.monotonic() + wait
        while not self._closed:
            now = self._clock.time()
            due = self._state.wake(now)
            batch = list(self._state.take(limit, now + self.lease, self))
            left = deadline - self._clock.monotonic()
            if batch or left <= 0:
                return batch
            pause = left if due is None else min(left, due - now)
            await self._state.notifier.wait(self._state.notifier.count, self._clock, pause)
        return []

    async def extend(self, messages: Sequence[Message], seconds: float = 0.0) -> list[Message]:
        """See `EventQueue`."""
        await self._step()
        until = self._clock.time() + max(self.lease, seconds)
        return [message for message in messages if not self._state.extend(message, until)]

    async def ack(self, messages: Sequence[Message]) -> None:
        """See `EventQueue`."""
        await self._step()
        for message in messages:
            self._state.remove(message)

    async def release(self, messages: Sequence[Message], delay: float) -> None:
        """See `EventQueue`."""
        await self._step()
        for message in messages:
            self._state.release(message, self._clock.time(), delay)
        self._state.notifier.notify()

    async def send(self, messages: Sequence[Outgoing]) -> list[str]:
        """See `EventQueue`."""
        await self._step()
        now = self._clock.time()
        ids = [self._state.add(message, now) for message in messages]
        self._state.notifier.notify()
        return ids

    async def depth(self) -> Depth:
        """See `EventQueue`."""
        await self._step()
        now = self._clock.time()
        self._state.wake(now)
        return self._state.depth(now)

    async def close(self) -> None:
        """End the leases of this client at once."""
        if not self._closed:
            self._closed = True
            self._state.free(self)
            self._state.notifier.notify()

    async def _step(self) -> None:
        """Let other tasks run, as a real queue would. A call cancelled here has had no effect."""
        if self._closed:
            raise QueueError("it is closed", where=self.name)
        await self._clock.sleep(0)


def _message(name: str, entry: _Entry) -> Message:
    sent = entry.sent
    return Message(
        id=name,
        body=sent.body,
        receipt=entry.receipt,
        attempt=entry.attempt,
        enqueued_at=entry.enqueued_at,
        lease_until=entry.until,
        attributes=sent.attributes,
        priority=sent.priority,
        event=sent.event,
    )
