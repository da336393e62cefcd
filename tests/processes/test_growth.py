"""The decision to go on in several processes, and what it is made from."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest

from skyferry.clock import SystemClock
from skyferry.config.load import load
from skyferry.engine.service import Service
from skyferry.errors import ConfigError, SkyferryError
from skyferry.ports import Outgoing
from skyferry.processes import counts, growth
from skyferry.processes.counts import count_cores, find_most, read_quota
from skyferry.processes.growth import Growable, GrowthPolicy, choose_count, grow
from skyferry.processes.pool import WorkerPool
from skyferry.processes.usage import Usage, UsageMeter, read_available, read_idle, read_left
from skyferry.queues.memory import MemoryQueue
from skyferry.status import QueueBytes

POLICY = GrowthPolicy()
BOUND = Usage(seconds=0.4, own=1.0, idle=1.0)  # one core is busy, one is idle
SETTLED = 800  # objects in 0.4 s: 2,000 a second


@pytest.mark.parametrize(
    ("usage", "settled", "rest", "count"),
    [
        (BOUND, SETTLED, 1400, 2),
        (BOUND, SETTLED, 1399, 1),  # less than 0.7 seconds: the start would not pay
        (replace(BOUND, own=0.89), SETTLED, 10**6, 1),  # it waits for the stores
        (replace(BOUND, idle=0.39), SETTLED, 10**6, 1),  # the stores use the other core
        (replace(BOUND, idle=0.4), SETTLED, 10**6, 2),
        (replace(BOUND, idle=1.4), SETTLED, 10**6, 3),
        (replace(BOUND, idle=63.0), SETTLED, 10**6, 4),
        (BOUND, 79, 10**6, 1),  # large objects, whose digests need the CPU
        (BOUND, 0, 10**6, 1),
    ],
)
def test_several_processes_pay_if_the_interpreter_is_the_bound(
    usage: Usage, settled: int, rest: int, count: int
) -> None:
    assert choose_count(POLICY, usage, settled, rest, most=4) == count
    assert choose_count(POLICY, usage, settled, rest, most=2) == min(count, 2)


def test_each_process_needs_a_core_and_a_share_of_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "count_cores", lambda: 16)
    limits = load(None, {}).limits
    assert find_most(limits) == 4
    assert find_most(limits.model_copy(update={"transfers": 3})) == 3
    assert find_most(limits.model_copy(update={"large_transfers": 1})) == 1
    assert find_most(limits.model_copy(update={"memory": 5 * limits.part_size})) == 2
    monkeypatch.setattr(counts, "count_cores", lambda: 1)
    assert find_most(limits) == 1


def test_idle_cores_are_those_that_this_process_may_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stat").write_text("cpu  9 9 9 900 90\ncpu0 1 1 1 100 10 0 0\ncpu1 1 1 1 200 20 0 0\nintr 5\n")
    monkeypatch.setattr("os.sysconf", lambda name: 100)
    for cores, seconds in (({0}, 1.1), ({1}, 2.2), ({0, 1, 7}, 3.3)):
        monkeypatch.setattr("os.sched_getaffinity", lambda pid, cores=cores: cores)
        assert read_idle(tmp_path / "stat") == pytest.approx(seconds)
    assert read_idle(tmp_path / "missing") is None


def test_the_use_is_that_since_the_last_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The load says what is idle if the system does not count idle time."""
    moments = iter([(0.0, 5.0, 10.0), (2.0, 6.0, 13.0), (3.0, 7.0, 13.0), (4.0, 8.5, None)])
    monkeypatch.setattr("skyferry.processes.usage._read", lambda: next(moments))
    monkeypatch.setattr("os.getloadavg", lambda: (0.5, 9.0, 9.0))
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    meter = UsageMeter()
    assert [meter.measure() for _ in range(3)] == [Usage(2.0, 0.5, 1.5), Usage(1.0, 1.0, 0.0), Usage(1.0, 1.5, 2.5)]


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, float("inf")),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, float("inf")),
        ({}, float("inf")),
    ],
)
def test_cores_are_no_more_than_the_quota_of_the_container(
    files: dict[str, str], quota: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert read_quota(tmp_path) == quota
    monkeypatch.setattr(counts, "CGROUP", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    assert count_cores() == {1.5: 2, 2.0: 2}.get(quota, 8)


def test_the_memory_left_is_that_of_the_machine_and_of_the_container(tmp_path: Path) -> None:
    """Cached files give way."""
    (tmp_path / "meminfo").write_text("MemTotal:  900 kB\nMemAvailable:  300 kB\nHugePages_Total:  0\n")
    assert (read_available(tmp_path / "meminfo"), read_available(tmp_path / "none")) == (300 * 1024, float("inf"))
    assert read_left(tmp_path) == float("inf")
    for name, text in {"max": "max", "current": "700", "stat": "anon 1\ninactive_file 50\n"}.items():
        (tmp_path / f"memory.{name}").write_text(text)
    assert read_left(tmp_path) == float("inf")
    (tmp_path / "memory.max").write_text("1000\n")
    assert read_left(tmp_path) == 350
    (tmp_path / "memory.max").unlink()
    (tmp_path / "memory").mkdir()
    for name, text in {"limit_in_bytes": "500", "usage_in_bytes": "400", "stat": "total_inactive_file 5"}.items():
        (tmp_path / f"memory/memory.{name}").write_text(text)
    assert read_left(tmp_path) == 105, "version 1"


@dataclass
class FakeWorker:
    """A worker that settles objects as the meter is read."""

    arrivals: int = 100
    in_flight: int = 100
    received: int = 0  # bytes in flight
    draining: bool = False
    drained: list[float | None] = field(default_factory=list)

    def backlog(self) -> dict[str, QueueBytes]:
        return {"q": QueueBytes(self.received, None)}

    def drain(self, grace: float | None = None) -> None:
        self.drained.append(grace)


@dataclass
class FakeService:
    worker: FakeWorker


@dataclass
class FakeMeter:
    """Readings from a list; the last one for ever. Each counts objects as settled."""

    worker: FakeWorker
    readings: list[Usage]
    settles: int = SETTLED
    taken: int = 0
    memory: float = float("inf")

    def measure(self) -> Usage:
        self.taken += 1
        self.worker.arrivals += self.settles
        return self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]

    def find_memory(self) -> float:
        return self.memory


@dataclass
class FakePool:
    """A pool whose children become ready, or fail."""

    failure: SkyferryError | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False

    async def wait_until_ready(self) -> None:
        await self.ready.wait()

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup():
                if self.failure is not None:
                    raise self.failure
                await asyncio.Event().wait()
        finally:
            self.ended = True


class Growth:
    """A command that grows, with readings that are injected."""

    def __init__(self, *readings: Usage, listed: bool = True, queued: int = 10_000) -> None:
        self.worker, self.pool = FakeWorker(), FakePool()
        self.meter = FakeMeter(self.worker, list(readings))
        self.queue, self.listed, self.queued = MemoryQueue("q", SystemClock()), listed, queued
        self.opened: list[int] = []
        self.warnings: list[SkyferryError] = []
        self.refusal: SkyferryError | None = None
        self.service = FakeService(self.worker)

    async def run(self) -> asyncio.Task[None]:
        """Start it, and let it make some measurements."""
        await self.queue.send([Outgoing(b"") for _ in range(self.queued)])
        command = Growable(self.queue, lambda: self.listed, self._open_pool, self.warnings.append)
        service, meter = cast("Service", self.service), cast("UsageMeter", self.meter)
        policy = replace(POLICY, window=0.0)
        task = asyncio.create_task(grow(service, command, load(None, {}).limits, policy, meter))
        for _ in range(50):
            await asyncio.sleep(0)
        return task

    def _open_pool(self, count: int) -> WorkerPool:
        self.opened.append(count)
        if self.refusal is not None:
            raise self.refusal
        return cast("WorkerPool", self.pool)


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "count_cores", lambda: 4)


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_worker_drains_once_all_processes_are_ready() -> None:
    grown = Growth(replace(BOUND, idle=0.0), replace(BOUND, own=0.5), BOUND)
    task = await grown.run()
    assert (grown.opened, grown.worker.drained, grown.service.worker) == ([2], [], grown.worker)
    grown.pool.ready.set()
    await task
    assert grown.worker.drained == [None]
    assert isinstance(grown.service.worker, growth.WorkHandover)
    assert not grown.pool.ended
    await end(grown.service.worker._running)


@pytest.mark.parametrize(("processes", "opened"), [(1.9, []), (2.0, [2]), (3.9, [3]), (9.0, [4])])
async def test_there_are_no_more_processes_than_fit_into_memory(processes: float, opened: list[int]) -> None:
    grown = Growth(replace(BOUND, idle=9.0))
    grown.meter.memory = processes * POLICY.memory
    await end(await grown.run())
    assert grown.opened == opened


async def test_large_objects_in_flight_are_completed_first() -> None:
    grown = Growth(BOUND)
    grown.worker.received = POLICY.in_flight + 1
    grown.pool.ready.set()
    task = await grown.run()
    assert (grown.opened, grown.worker.drained) == ([2], [])
    grown.worker.received = POLICY.in_flight
    await task
    assert grown.worker.drained == [None]
    handover = cast("growth.WorkHandover", grown.service.worker)
    await end(handover._running)


async def test_the_end_of_the_command_ends_processes_that_start() -> None:
    grown = Growth(BOUND)
    task = await grown.run()
    await end(task)
    assert (grown.opened, grown.pool.ended, grown.worker.drained) == ([2], True, [])


async def test_a_command_that_drains_is_not_passed_on() -> None:
    grown = Growth(BOUND)
    task = await grown.run()
    grown.worker.draining = True
    grown.pool.ready.set()
    await task
    assert (grown.pool.ended, grown.worker.drained, grown.service.worker) == (True, [], grown.worker)


async def test_processes_that_cannot_start_are_warned_of_and_not_tried_again() -> None:
    grown = Growth(BOUND)
    grown.pool.failure = SkyferryError("no memory")
    task = await grown.run()
    await task
    assert (grown.opened, grown.warnings, grown.worker.drained) == ([2], [grown.pool.failure], [])


async def test_a_store_that_others_cannot_open_stays_in_one_process_silently() -> None:
    grown = Growth(BOUND)
    grown.refusal = ConfigError("a store in memory")
    await (await grown.run())
    assert (grown.opened, grown.warnings) == ([2], [])


async def test_a_rest_that_is_not_listed_yet_counts_as_much_as_has_been_copied() -> None:
    """The listing waits while two thousand events are in the queue."""
    known, unknown = Growth(BOUND, queued=500), Growth(BOUND, queued=500, listed=False)
    for grown in (known, unknown):
        await end(await grown.run())
    assert (known.opened, unknown.opened) == ([], [2])
    assert unknown.meter.taken == 4, "after 1,600 objects, and once more"


async def test_one_measurement_is_not_enough() -> None:
    grown = Growth(BOUND, BOUND, replace(BOUND, idle=0.0))
    await end(await grown.run())
    assert (grown.opened, grown.meter.readings) == ([], [replace(BOUND, idle=0.0)])
