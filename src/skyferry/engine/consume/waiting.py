"""The waiting room: leased messages that cannot be processed yet. Their leases are renewed, so waiting costs no receive.

A message waits here for a retry that is not due, a store that is down, a key that another worker has leased, an object that
is too young, or a ledger that does not answer. If the room is full, a message is released to its queue with a growing
delay. Where receives are limited, it is kept in any case after as many releases as DISMISSED has entries, and no more
messages of its queue are received until there is room again. So there, waiting takes a bounded number of receives, however
long it lasts. No queue takes all of the room.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from math import inf
from typing import TYPE_CHECKING

from skyferry.engine.resilience.shares import find_share
from skyferry.ports import EventQueue, Message

if TYPE_CHECKING:
    from skyferry.engine.consume.in_flight import LeasedMessage

DISMISSED = (
    120.0,
    600.0,
)  # seconds, at least, for which a full room releases a message the first time, the second
LONGEST = 600.0  # seconds, at most, of one lease: the message of a worker that died should not wait longer
OVERHEAD = 1024  # bytes of memory for a message, in addition to its content
EVENT = 4096  # bytes of memory for an event, whose two keys have 1 KiB at most
BUSY = (0.5, 5.0)  # seconds until a key that another worker has leased is claimed again, at first and at most


class WaitingRoom:
    """A bounded number of messages and of their bytes. Only `enter` may exceed the bounds."""

    def __init__(self, messages: int = 10_000, memory: int = 32 * 2**20, queues: int = 1) -> None:
        """`queues` is the number of queues whose messages may wait. Those of one alone may take all of the room."""
        self.changed = asyncio.Event()  # set when a message enters
        self.closed = False  # the worker is draining: no message may wait
        self.size = 0  # bytes
        self._messages, self._memory, self._queues = messages, memory, queues
        self._due: dict[str, list[tuple[float, int, LeasedMessage]]] = {}  # by queue name; one that has left is skipped
        self._held: dict[LeasedMessage, float] = {}  # when each is due, in monotonic seconds
        self._count = 0
        self._counts, self._sizes = Counter[str](), Counter[str]()  # of `_held`, by queue name

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, leased: LeasedMessage) -> bool:
        return leased in self._held

    def __iter__(self) -> Iterator[LeasedMessage]:
        return iter(self._held)

    def count(self, queue: str) -> int:
        """Return the number of messages of a queue."""
        return self._counts[queue]

    def is_full(self, queue: str) -> bool:
        """Return True if there is no room for another message of this queue."""
        return self._find_room(queue) <= 0

    def is_overfull(self, queue: str) -> bool:
        """Return True if the messages of this queue exceed the bounds: nothing more of it should be received."""
        return self._counts[queue] > 0 and self._find_room(queue) < 0

    def _find_room(self, queue: str) -> int:
        """Return the messages or the bytes for which there is room, whichever are fewer."""
        messages = find_share(self._messages - len(self._held), self._counts[queue], self._queues)
        return min(messages, find_share(self._memory - self.size, self._sizes[queue], self._queues))

    @property
    def queues(self) -> Collection[str]:
        """The names of the queues whose messages have waited."""
        return self._due.keys()

    def find_next(self, queue: str) -> float:
        """Return the time at which the next message of a queue is due, in monotonic seconds; inf without any."""
        entries = self._due.get(queue, [])
        while entries and self._stale(entries[0]):
            heapq.heappop(entries)
        return entries[0][0] if entries else inf

    def enter(self, leased: LeasedMessage, due: float) -> float | None:
        """Keep it until `due` (monotonic seconds). Without room, return the minimum delay of its release, in seconds."""
        attempt = max(1, leased.message.attempt)
        if self.closed:
            return 0.0
        if self.is_full(leased.queue.name) and (attempt <= len(DISMISSED) or not leased.queue.traits.limits_receives):
            return DISMISSED[min(attempt, len(DISMISSED)) - 1]
        leased.waits += 1
        self.changed.set()
        self._account(leased, 1)
        self._put(leased, due)
        return None

    def leave(self, leased: LeasedMessage) -> None:
        """Remove a message."""
        if self._held.pop(leased, None) is not None:
            self._account(leased, -1)

    def take(
        self, queue: str, now: float, limit: int, blocked: Callable[[LeasedMessage], float]
    ) -> list[LeasedMessage]:
        """Remove and return the first due messages of a queue that are not blocked. `blocked` returns seconds to wait."""
        taken: list[LeasedMessage] = []
        while len(taken) < limit and self.find_next(queue) <= now:
            leased = heapq.heappop(self._due[queue])[2]
            if (wait := blocked(leased)) > 0:
                self._put(leased, now + wait)
            else:
                self.leave(leased)
                taken.append(leased)
        return taken

    def end_waits(self, chosen: Iterable[LeasedMessage], now: float) -> None:
        """Let some of the messages be due now (monotonic seconds)."""
        for leased in chosen:
            self._put(leased, now)
        self.changed.set()

    def fewest_failures(self, route: str, by: float) -> float:
        """Return the fewest uncounted failures of a message for this route due by then (monotonic seconds); inf without any."""
        due_soon = (leased.uncounted for leased, due in self._held.items() if due <= by and route in leased.routes)
        return min(due_soon, default=inf)

    def lease(self, leased: LeasedMessage, queue: EventQueue, now: float) -> float:
        """Return the seconds for which to renew its lease: doubled until it covers the wait, up to the longest lease."""
        seconds, needed = queue.lease, self._held.get(leased, now) - now + queue.lease
        longest = min(LONGEST, queue.traits.max_lease)
        while seconds < min(needed, longest):
            seconds = min(2 * seconds, longest)
        return seconds

    def _account(self, leased: LeasedMessage, change: int) -> None:
        size = change * estimate_size(leased.message)
        self.size += size
        self._counts[leased.queue.name] += change
        self._sizes[leased.queue.name] += size

    def _put(self, leased: LeasedMessage, due: float) -> None:
        self._count += 1
        self._held[leased] = due
        entries = self._due.setdefault(leased.queue.name, [])
        heapq.heappush(entries, (due, self._count, leased))
        if len(entries) > 1000 + 4 * self._counts[leased.queue.name]:
            entries[:] = [entry for entry in entries if not self._stale(entry)]
            heapq.heapify(entries)

    def _stale(self, entry: tuple[float, int, LeasedMessage]) -> bool:
        return self._held.get(entry[2]) != entry[0]


def estimate_size(message: Message) -> int:
    """Return its approximate size in memory, in bytes."""
    own = sum(len(name) + len(value) for name, value in message.attributes)
    return (len(message.body) if message.event is None else EVENT) + len(message.receipt) + own + OVERHEAD


def busy_pause(waits: int, random: float) -> float:
    """Return the seconds until a busy key is claimed again, after `waits` waits; `random` is uniform in [0, 1)."""
    first, most = BUSY
    return min(most, first * 2.0 ** min(waits, 16)) * (0.5 + random / 2)
