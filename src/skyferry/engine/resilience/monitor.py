"""Check the ledger, the queues and other parts of a service in the background, each in its own task.

A status request then waits for no part. If a part does not answer within `PATIENCE`, its last values are dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import field
from typing import TypeVar

from skyferry.engine.queue_health import NOT_YET, MonitoredQueue
from skyferry.engine.resilience.health import Health
from skyferry.errors import LedgerError, SkyferryError
from skyferry.frozen import dataclass
from skyferry.model import State
from skyferry.ports import Clock, Ledger, Observer, WorkerState
from skyferry.ports.ledger.held_deletes import sum_by_store
from skyferry.records import Record
from skyferry.status import Condition, HealthCheck

T = TypeVar("T")
PATIENCE = 5.0  # seconds for one answer
QUICK = 0.5  # seconds for one answer to a status request; a longer one leaves the last values
FIRST = 2.0  # seconds for the first count in the ledger, for which a status request waits
LOOK = 2.0  # seconds between counts in the ledger
IDLE = 10.0  # the same while nothing is worked on; a request for the status counts in any case
WRITE = 5.0  # seconds between write checks of the ledger
SCAN = 60.0  # seconds for the query of the oldest unsettled events
SHARE = 20  # that query pauses for this many times its duration, and the number of workers
NEAR = 2.0  # seconds between depth samples of a queue on this machine
CHANGE = 0.25  # of a limit that is reported
NEW = 5.0  # seconds for which a status request uses the last depth of another queue


@dataclass(frozen=True, slots=True)
class Probe:
    """An additional check for /ready and the status."""

    name: str
    look: Callable[[], Awaitable[Sequence[HealthCheck]]]  # may raise SkyferryError; then its last result is dropped
    every: float = 5.0  # seconds


@dataclass(slots=True)
class LedgerSample:
    """The last answers of the ledger; None = not known now."""

    transfers: Mapping[State, int] | None = None
    letters: int | None = None
    workers: Mapping[WorkerState, int] = field(default_factory=dict)
    unrouted: Mapping[str, int] = field(default_factory=dict)  # see `Ledger.count_unrouted`
    held: Mapping[str, int] = field(default_factory=dict)  # held deletes by source
    oldest: Mapping[str, float] | None = None  # see `Ledger.find_oldest_unsettled`
    check: HealthCheck = HealthCheck("ledger", "ledger", "down", NOT_YET)

    @property
    def settled(self) -> int:
        """The number of settled transfers, as far as it is known."""
        return sum(count for state, count in (self.transfers or {}).items() if state.settled)


class Monitor:
    """Samples the ledger and the queues while it runs."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        queues: Sequence[MonitoredQueue],
        paces: Mapping[str, float],
        probes: Sequence[Probe] = (),
        activity: Callable[[], object] = object,
    ) -> None:
        """`paces` are seconds between depth samples, by queue; the default is `NEAR`.

        `activity` returns the same value as long as nothing is worked on; by default there is always work.
        """
        self.facts = LedgerSample()
        self._ledger, self._clock, self._queues, self._paces, self._probes = ledger, clock, queues, paces, probes
        self._activity = activity
        self._counted = False  # once: with numbers, or without an answer
        self._found: dict[str, Sequence[HealthCheck]] = {}  # by probe

    async def run(self) -> None:
        """Sample until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for queue in self._queues:
                tasks.create_task(self._sample(queue), name=f"depth of {queue.name}")
            for probe in self._probes:
                tasks.create_task(self._probe(probe), name=f"probe {probe.name}")
            for each in (self._write, self._read, self._ages):
                tasks.create_task(each(), name=f"ledger{each.__name__}")

    def checks(self) -> list[HealthCheck]:
        """Return the checks of the ledger and the queues, and the results of the probes."""
        found = [check for probe in self._probes for check in self._found.get(probe.name, ())]
        return [self.facts.check, *(queue.check for queue in self._queues), *found]

    async def refresh(self) -> None:
        """Sample the ledger, and the queues whose last depth is too old."""
        now = self._clock.monotonic()
        old = [q for q in self._queues if q.health.sampled is None or now - q.health.sampled >= self._max_age(q)]
        count = self.count_transfers(QUICK, hurried=True) if self._counted else self.count_transfers(FIRST)
        await asyncio.gather(count, *(queue.sample(QUICK, hurried=True) for queue in old))

    async def count_transfers(self, patience: float, *, hurried: bool = False) -> None:
        """Count transfers by state, dead letters, held deletes and workers.

        With `hurried`, a missing answer changes nothing that is known.
        """
        try:
            async with asyncio.timeout(patience):
                transfers, causes = await self._ledger.count_transfers(), await self._ledger.count_dead_letters()
                self.facts.unrouted = dict(await self._ledger.count_unrouted())
                self.facts.held = sum_by_store(await self._ledger.count_held_deletes())
                self.facts.workers = await self._ledger.count_workers()
        except (LedgerError, TimeoutError) as error:
            if hurried and isinstance(error, TimeoutError):
                return
            self.facts.transfers, self.facts.letters, self.facts.workers = None, None, {}
        else:
            self.facts.transfers, self.facts.letters = transfers, sum(count for _, _, count in causes)
        self._counted = True

    async def _sample(self, queue: MonitoredQueue) -> None:
        while True:
            before = self._activity()
            await queue.sample(PATIENCE)
            await self._rest(self._paces.get(queue.name, NEAR), before)

    def _max_age(self, queue: MonitoredQueue) -> float:
        """Return the seconds for which the last depth of this queue is used."""
        return NEW if self._paces.get(queue.name, NEAR) > NEAR else 0.0

    async def _write(self) -> None:
        """Check that the ledger can be written: otherwise nothing can be settled."""
        while True:
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._ledger.check_writable()
                self.facts.check = HealthCheck("ledger", "ledger", "ok")
            except TimeoutError:
                why = f"it could not be written within {PATIENCE:g} s: another process may hold its lock"
                self.facts.check = HealthCheck("ledger", "ledger", "down", why)
                self.facts.oldest = None  # its query may hang as well
            except LedgerError as error:
                self.facts.check = HealthCheck("ledger", "ledger", "down", str(error))
            await self._clock.sleep(WRITE)

    async def _read(self) -> None:
        while True:
            before = self._activity()
            await self.count_transfers(PATIENCE)
            await self._rest(LOOK, before)

    async def _ages(self) -> None:
        """Run in a separate task: the query takes longer the more transfers are unsettled. All workers take turns at it."""
        while True:
            began, before = self._clock.monotonic(), self._activity()
            try:
                async with asyncio.timeout(SCAN):
                    self.facts.oldest = await self._ledger.find_oldest_unsettled()
            except (LedgerError, TimeoutError):
                self.facts.oldest = None
            share = SHARE * max(1, sum(self.facts.workers.values()))
            await self._rest(max(LOOK, share * (self._clock.monotonic() - began)), before)

    async def _rest(self, seconds: float, before: object) -> None:
        """Sleep for `seconds`, and on up to `IDLE` seconds while the activity is the same as before."""
        end = self._clock.monotonic() + IDLE
        await self._clock.sleep(seconds)
        while self._activity() == before and (left := end - self._clock.monotonic()) > 0:
            await self._clock.sleep(min(seconds, left))

    async def _probe(self, probe: Probe) -> None:
        while True:
            try:
                async with asyncio.timeout(PATIENCE):
                    self._found[probe.name] = await probe.look()
            except (SkyferryError, TimeoutError) as error:
                self._found[probe.name] = [
                    HealthCheck("work", probe.name, "degraded", f"its state is unknown: {error}")
                ]
            await self._clock.sleep(probe.every)


class CheckReporter:
    """Reports checks whose state has changed, except failures that `Health` has reported, and limits that have changed.

    At the start everything is ok.
    """

    def __init__(self, observer: Observer, health: Health | None = None) -> None:
        self._on, self._health = observer.on, health
        self._states: dict[tuple[str, str], Condition] = {}
        self._limits: dict[str, int] = {}  # as last reported

    def report(self, checks: Sequence[HealthCheck]) -> None:
        """Report each change once. The worker reports its drain itself."""
        for check in (each for each in checks if each.part != "worker"):
            if self._health and self._health.has_reported(check):
                continue
            key = (check.part, check.name)
            if check.message != NOT_YET and self._states.get(key, "ok") != check.state:
                self._states[key] = check.state
                queue, store = (check.name if check.part == part else "" for part in ("queue", "store"))
                self._on(
                    Record(
                        "check.changed",
                        operation="" if queue or store else check.name,
                        queue=queue,
                        store=store,
                        reason=check.state,
                        message=check.message,
                    )
                )

    def report_limits(self, limits: Mapping[str, int]) -> None:
        """Report each limit of concurrent requests, by store, that has changed by a quarter since its last report."""
        for store, count in limits.items():
            if abs(count - (last := self._limits.get(store, 0))) > last * CHANGE:
                self._limits[store] = count
                self._on(Record("limit.changed", store=store, count=count))
