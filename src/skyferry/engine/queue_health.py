"""The health of queues, as their last answers show it: `/ready` and the status cost no request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType

from skyferry.errors import FolderMissing, QueueError
from skyferry.frozen import dataclass
from skyferry.ports import Clock, Depth, EventQueue, Message, Outgoing
from skyferry.ports.decorators import QueueDecorator
from skyferry.status import HealthCheck

OVERDUE = 10.0  # seconds beyond its wait after which a receive is overdue
FRESH = 60.0  # seconds after a receive during which an unknown depth means degraded, not down
RECENT = 60.0  # seconds for which a failed send leaves the queue degraded
UNREACHABLE = (
    30.0  # seconds for which a queue or a folder fails before a command gives up that should end once no work is left
)
LATE = 0.01  # of the time so far, which may pass until a command notices that no work is left
LATEST = 0.1  # seconds, at most
NOT_YET = "it has not answered yet"


@dataclass(slots=True)
class QueueHealth:
    """The last answers of one queue. Times are monotonic seconds."""

    since: float  # the start
    answered: float | None = None  # end of the last receive that succeeded
    due: float | None = None  # when the receive under way should have ended
    failure: str = ""  # of the last receive; "" = it succeeded
    failed: float | None = None  # end of the last receive that failed
    depth: Depth | None = None  # None = unknown
    sampled: float | None = None  # when the depth was last requested, with or without success
    unsampled: str = ""  # why the depth is unknown
    unsent: str = ""  # error of the last send; "" = it succeeded
    sent: float = 0.0  # end of the last send


def check_queue(name: str, health: QueueHealth, now: float) -> HealthCheck:
    """Return the condition of a queue. Pure."""
    fresh = health.answered is not None and now - health.answered < FRESH
    if health.failure:
        return HealthCheck("queue", name, "down", health.failure)
    if health.due is not None and now > health.due + OVERDUE:
        return HealthCheck("queue", name, "down", f"a receive is overdue by {now - health.due:.0f} s")
    if health.unsampled:
        return HealthCheck("queue", name, "degraded" if fresh else "down", health.unsampled)
    if health.unsent and now - health.sent < RECENT:
        return HealthCheck("queue", name, "degraded", f"a send failed: {health.unsent}")
    if health.answered is None and (health.depth is None or health.depth.ready < 0):
        return HealthCheck("queue", name, "down", NOT_YET)
    return HealthCheck("queue", name, "ok")


class MonitoredQueue(QueueDecorator):
    """An EventQueue that records in `health` how the inner queue answers."""

    def __init__(self, queue: EventQueue, clock: Clock) -> None:
        super().__init__(queue)
        self._clock = clock
        self.health = QueueHealth(clock.monotonic())

    @property
    def check(self) -> HealthCheck:
        """The current condition of the queue."""
        return check_queue(self.name, self.health, self._clock.monotonic())

    def note_reports(self, checks: Sequence[HealthCheck]) -> None:
        """Take over what other processes, which receive in place of this one, know of the queue."""
        if not checks:
            return
        down = [check for check in checks if check.state == "down" and check.message != NOT_YET]
        if any(check.state != "down" for check in checks):
            self.health.failure, self.health.answered = "", self._clock.monotonic()
        elif down:
            self.health.failure, self.health.failed = down[0].message, self._clock.monotonic()

    async def receive(self, limit: int, wait: float) -> list[Message]:
        health = self.health
        health.due = self._clock.monotonic() + wait
        try:
            messages = await self.inner.receive(limit, wait)
        except QueueError as error:
            health.failure, health.failed = str(error), self._clock.monotonic()
            raise
        finally:
            health.due = None
        health.failure, health.answered = "", self._clock.monotonic()
        return messages

    async def sample(self, patience: float, *, hurried: bool = False) -> Depth | None:
        """Request the depth and record it. Return None if there is no answer within `patience` seconds.

        With `hurried`, a missing answer changes nothing that is known.
        """
        health = self.health
        try:
            async with asyncio.timeout(patience):
                health.depth, health.unsampled = await self.inner.depth(), ""
        except TimeoutError:
            if not hurried:
                health.depth, health.unsampled = None, f"no answer within {patience:g} s"
        except QueueError as error:
            health.depth, health.unsampled = None, str(error)
        health.sampled = self._clock.monotonic()
        return health.depth

    async def send(self, messages: Sequence[Outgoing]) -> list[str]:
        try:
            ids = await self.inner.send(messages)
        except QueueError as error:
            self.health.unsent, self.health.sent = str(error), self._clock.monotonic()
            raise
        self.health.unsent = ""
        return ids


class OutageWatch:
    """The end of the wait for queues and folders that are away, for a command that ends once no work is left."""

    def __init__(
        self,
        queues: Sequence[MonitoredQueue],
        clock: Clock,
        checks: Callable[[], Sequence[HealthCheck]] = tuple,
        stores: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`checks` returns the last results of probes, among them that of missing folders; `stores`: destinations by route."""
        self._queues, self._clock, self._checks, self._stores = queues, clock, checks, stores
        self._began = clock.monotonic()
        self._complete, self._settled = self._began, 0  # when no folder was missing, or a transfer was settled
        self._since = [self._began for _ in queues]  # when each was last not down

    def check(self) -> None:
        """Raise QueueError if a queue has failed for `UNREACHABLE` seconds, without an interruption.

        One failure does not count for the time until the next receive, which is long after several failures, after a
        Retry-After, or while large objects take all room.
        """
        now = self._clock.monotonic()
        for index, queue in enumerate(self._queues):
            if (check := queue.check).state != "down":
                self._since[index] = now
                continue
            failed = queue.health.failed if queue.health.failure else None
            if (now if failed is None else failed) - self._since[index] >= UNREACHABLE:
                raise QueueError(f"down for {UNREACHABLE:g} s: {check.message}", where=check.name)

    def check_folders(self, settled: int, in_flight: int, find_routes: Callable[[], Collection[str]]) -> None:
        """Raise FolderMissing if a destination is missing or replaced, and only what waits for it has been left for so long.

        `settled` counts the transfers that are settled, and `in_flight` those under way. `find_routes` returns the routes of all
        that is under way or waits, also for a retry or for an object to be old enough.
        """
        now = self._clock.monotonic()
        missing = next(
            (each for each in self._checks() if each.name == FolderMissing.kind and each.state != "ok"), None
        )
        if missing is None or settled != self._settled:
            self._complete, self._settled = now, settled
        elif not (routes := find_routes()):  # messages between two steps, or none
            return
        elif not {self._stores.get(name, "") for name in routes} <= {*missing.stores}:
            self._complete = now
        elif not in_flight and now - self._complete >= UNREACHABLE:
            raise FolderMissing(f"away for {UNREACHABLE:g} s, and work waits for it: {missing.message}")

    def choose_pause(self, check: float, *, busy: bool) -> float:
        """Return the seconds until the next look for work that is left: `check`, or more while the worker is busy.

        A look every 5 ms took a sixth of the CPU of a copy of large objects.
        """
        spent = self._clock.monotonic() - self._began
        return max(check, min(LATEST, LATE * spent)) if busy else check


async def read_depths(queues: Sequence[MonitoredQueue]) -> list[Depth] | None:
    """Return the depths of the queues; None if one does not answer, or gives no messages: it may say that it has none.

    Raises QueueError if no waiting heals it.
    """
    try:
        depths = [await queue.depth() for queue in queues]
    except QueueError as error:
        if error.transient is False:
            raise
        return None
    return None if any(queue.health.failure for queue in queues) else depths
