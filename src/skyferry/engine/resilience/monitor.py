"""What a service knows of its parts: asked in the background, each part by itself, so that no question has to wait.

A part that does not answer within `PATIENCE` is known as such, and what was known of it is forgotten, not shown on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from skyferry.engine.queue_health import NOT_YET, MonitoredQueue
from skyferry.errors import LedgerError, SkyferryError
from skyferry.model import State
from skyferry.ports import Clock, Ledger, Observer
from skyferry.ports.held import by_store
from skyferry.records import Record
from skyferry.status import Condition, HealthCheck

T = TypeVar("T")
PATIENCE = 5.0  # seconds for one answer
QUICK = 0.5  # seconds for one answer to someone who waits for it
LOOK = 2.0  # seconds between looks at the ledger
WRITE = 5.0  # seconds between tries whether the ledger can be written
SCAN = 60.0  # seconds that the look at what is not settled may take
SHARE = 20  # a look at what is not settled is not repeated for so many times as long as it took
NEAR = 2.0  # seconds between questions for the depth of a queue on this machine
NEW = 5.0  # seconds that the depth of another queue is new enough for someone who asks


@dataclass(frozen=True, slots=True)
class Probe:
    """A look at something else that /ready and the status are to name."""

    name: str
    look: Callable[[], Awaitable[Sequence[HealthCheck]]]  # may raise SkyferryError: what was known is forgotten then
    every: float = 5.0  # seconds


@dataclass(slots=True)
class Facts:
    """What the ledger has told last; None = not known now."""

    transfers: Mapping[State, int] | None = None
    letters: int | None = None
    unrouted: Mapping[str, int] = field(default_factory=dict)  # see `Ledger.unrouted`
    held: Mapping[str, int] = field(default_factory=dict)  # deletes that wait for a decision, by source
    oldest: Mapping[str, float] | None = None  # see `Ledger.oldest_unsettled`
    check: HealthCheck = HealthCheck("ledger", "ledger", "down", NOT_YET)  # noqa: RUF009 - frozen


class Monitor:
    """Looks at ledger and queues, for as long as it runs."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        queues: Sequence[MonitoredQueue],
        paces: Mapping[str, float],
        probes: Sequence[Probe] = (),
    ) -> None:
        """`paces` are seconds between questions for the depth, by queue; without one it is asked as one that is near."""
        self.facts = Facts()
        self._ledger, self._clock, self._queues, self._paces, self._probes = ledger, clock, queues, paces, probes
        self._found: dict[str, Sequence[HealthCheck]] = {}  # by probe

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for queue in self._queues:
                tasks.create_task(self._sample(queue), name=f"depth of {queue.name}")
            for probe in self._probes:
                tasks.create_task(self._probe(probe), name=f"probe {probe.name}")
            for each in (self._write, self._read, self._ages):
                tasks.create_task(each(), name=f"ledger{each.__name__}")

    def checks(self) -> list[HealthCheck]:
        """The conditions of ledger, queues, and what the probes have found."""
        found = [check for probe in self._probes for check in self._found.get(probe.name, ())]
        return [self.facts.check, *(queue.check for queue in self._queues), *found]

    async def look(self) -> None:
        """Ask again, for someone who wants to know: the ledger, and the queues whose depth is not new."""
        now = self._clock.monotonic()
        old = [q for q in self._queues if q.health.sampled is None or now - q.health.sampled >= self._new(q)]
        await asyncio.gather(self.count(QUICK), *(queue.sample(QUICK, hurried=True) for queue in old))

    async def count(self, patience: float) -> None:
        """Ask what the ledger has, by state, and for the dead letters."""
        try:
            async with asyncio.timeout(patience):
                transfers, causes = await self._ledger.counts(), await self._ledger.causes()
                self.facts.unrouted = dict(await self._ledger.unrouted())
                self.facts.held = by_store(await self._ledger.held_counts())
        except (LedgerError, TimeoutError):
            self.facts.transfers = self.facts.letters = None
        else:
            self.facts.transfers, self.facts.letters = transfers, sum(count for _, _, count in causes)

    async def _sample(self, queue: MonitoredQueue) -> None:
        while True:
            await queue.sample(PATIENCE)
            await self._clock.sleep(self._paces.get(queue.name, NEAR))

    def _new(self, queue: MonitoredQueue) -> float:
        """Seconds that an answer of this queue is new."""
        return NEW if self._paces.get(queue.name, NEAR) > NEAR else 0.0

    async def _write(self) -> None:
        """A ledger that cannot be written is down: nothing could be settled."""
        while True:
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._ledger.check()
                self.facts.check = HealthCheck("ledger", "ledger", "ok")
            except TimeoutError:
                why = f"it could not be written within {PATIENCE:g} s: another process may hold its lock"
                self.facts.check = HealthCheck("ledger", "ledger", "down", why)
                self.facts.oldest = None  # the look at it may hang as well
            except LedgerError as error:
                self.facts.check = HealthCheck("ledger", "ledger", "down", str(error))
            await self._clock.sleep(WRITE)

    async def _read(self) -> None:
        while True:
            await self.count(PATIENCE)
            await self._clock.sleep(LOOK)

    async def _ages(self) -> None:
        """By itself: the look takes the longer the more is not settled."""
        while True:
            began = self._clock.monotonic()
            try:
                async with asyncio.timeout(SCAN):
                    self.facts.oldest = await self._ledger.oldest_unsettled()
            except (LedgerError, TimeoutError):
                self.facts.oldest = None
            await self._clock.sleep(max(LOOK, SHARE * (self._clock.monotonic() - began)))

    async def _probe(self, probe: Probe) -> None:
        while True:
            try:
                async with asyncio.timeout(PATIENCE):
                    self._found[probe.name] = await probe.look()
            except (SkyferryError, TimeoutError) as error:
                self._found[probe.name] = [HealthCheck("work", probe.name, "degraded", f"it is not known: {error}")]
            await self._clock.sleep(probe.every)


class Changes:
    """Tells an observer of each check whose state has changed; at the start everything counts as ok."""

    def __init__(self, observer: Observer) -> None:
        self._on = observer.on
        self._states: dict[tuple[str, str], Condition] = {}

    def tell(self, checks: Sequence[HealthCheck]) -> None:
        """Once per change, however often it is called; the worker tells by itself that it drains."""
        for check in (each for each in checks if each.part != "worker"):
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
