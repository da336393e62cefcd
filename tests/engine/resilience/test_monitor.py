"""Each part is checked separately: one that fails or hangs hides no other, and no old value replaces its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from skyferry.engine.queue_health import NOT_YET, MonitoredQueue, QueueHealth, check_queue
from skyferry.engine.resilience import monitor
from skyferry.engine.resilience.health import Health
from skyferry.engine.resilience.monitor import CheckReporter, Monitor, Probe
from skyferry.errors import LedgerError, QueueError
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.model import State
from skyferry.ports import Depth, Message, Outgoing
from skyferry.queues.memory import MemoryQueue
from skyferry.records import Record
from skyferry.status import HealthCheck
from skyferry.testing.clock import ManualClock
from skyferry.testing.ledger.harness import bring, transfer

TOLD = Depth(0, 0, 0, 0.0)
SILENT = Depth(-1, -1, -1, -1.0)


@pytest.mark.parametrize(
    ("heard", "state", "message"),
    [
        (QueueHealth(0.0), "down", NOT_YET),
        (QueueHealth(0.0, depth=SILENT), "down", NOT_YET),
        (QueueHealth(0.0, depth=TOLD), "ok", ""),
        (QueueHealth(0.0, answered=99.0), "ok", ""),
        (QueueHealth(0.0, answered=1.0), "ok", ""),
        (QueueHealth(0.0, answered=99.0, failure="gone"), "down", "gone"),
        (QueueHealth(0.0, answered=80.0, due=95.0), "ok", ""),
        (QueueHealth(0.0, answered=80.0, due=89.0), "down", "a receive is overdue by 11 s"),
        (QueueHealth(0.0, answered=80.0, unsampled="no right"), "degraded", "no right"),
        (QueueHealth(0.0, answered=39.0, unsampled="no answer"), "down", "no answer"),
        (QueueHealth(0.0, unsampled="no answer"), "down", "no answer"),
        (QueueHealth(0.0, answered=99.0, unsent="full", sent=80.0), "degraded", "a send failed: full"),
        (QueueHealth(0.0, answered=99.0, unsent="full", sent=30.0), "ok", ""),
    ],
)
def test_a_queue_is_known_by_its_answers(heard: QueueHealth, state: str, message: str) -> None:
    check = check_queue("q", heard, 100.0)
    assert (check.state, check.message) == (state, message)


class Moody(MemoryQueue):
    """A queue that fails or hangs on demand."""

    mood = ""

    async def _mood(self) -> None:
        if self.mood == "hangs":
            await asyncio.Event().wait()
        if self.mood:
            raise QueueError(self.mood, where=self.name)

    async def receive(self, limit: int, wait: float) -> list[Message]:
        await self._mood()
        return await super().receive(limit, wait)

    async def send(self, messages: Sequence[Outgoing]) -> list[str]:
        await self._mood()
        return await super().send(messages)

    async def depth(self) -> Depth:
        await self._mood()
        return await super().depth()


class Ill(MemoryLedger):
    """Can be read and not written, or neither, or hangs."""

    readable = writable = True
    hangs = False

    async def _step(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if not self.readable:
            raise LedgerError("database disk image is malformed", where="ledger.db")
        await super()._step()

    async def check_writable(self) -> None:
        await super().check_writable()
        if not self.writable:
            raise LedgerError("database or disk is full", where="ledger.db")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "PATIENCE", 0.05)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def ledger(clock: ManualClock) -> Ill:
    return Ill("me", clock)


@asynccontextmanager
async def watching(
    ledger: Ill, clock: ManualClock, *queues: MonitoredQueue, probes: Sequence[Probe] = ()
) -> AsyncIterator[Monitor]:
    found = Monitor(ledger, clock, queues, {}, probes)
    task = asyncio.create_task(found.run())
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(met: Callable[[], bool], clock: ManualClock) -> None:
    """Lets the clock run, and what hangs be given up."""
    async with asyncio.timeout(20):
        while not met():
            await clock.advance(1.0)
            await asyncio.sleep(0.005)


def shown(queue: MonitoredQueue) -> tuple[str, str]:
    return queue.check.state, queue.check.message


def states(found: Monitor) -> dict[str, str]:
    return {check.name: check.state for check in found.checks()}


@pytest.mark.parametrize("mood", ["hangs", "no such queue"])
async def test_a_lost_queue_hides_no_other_and_keeps_no_depth(mood: str, ledger: Ill, clock: ManualClock) -> None:
    lost, well = Moody("lost", clock), Moody("well", clock)
    one, two = MonitoredQueue(lost, clock), MonitoredQueue(well, clock)
    await lost.send([Outgoing(b"x")])
    async with watching(ledger, clock, one, two) as found:
        await until(lambda: one.health.depth is not None and two.health.depth is not None, clock)
        lost.mood = mood
        await until(lambda: one.health.depth is None, clock)
        await well.send([Outgoing(b"x")])
        await until(lambda: two.health.depth is not None and two.health.depth.ready == 1, clock)
        assert states(found) == {"ledger": "ok", "lost": "down", "well": "ok"}
        lost.mood = ""
        await until(lambda: states(found)["lost"] == "ok", clock)
        await found.refresh()
        assert one.health.depth is not None
        assert one.health.depth.ready == 1


async def test_a_status_request_does_not_wait_for_a_queue_that_hangs(
    ledger: Ill, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it held against the queue that the answer did not come in such a hurry."""
    monkeypatch.setattr(monitor, "QUICK", 0.01)
    queue = Moody("q", clock)
    heard = MonitoredQueue(queue, clock)
    await heard.sample(1.0)
    queue.mood = "hangs"
    await Monitor(ledger, clock, [heard], {}).refresh()
    assert shown(heard) == ("ok", "")
    assert heard.health.depth is not None


async def test_a_receive_that_fails_is_known_until_one_succeeds(ledger: Ill, clock: ManualClock) -> None:
    """A queue that does not report its depth, such as Pub/Sub, is checked by this alone."""
    queue = Moody("q", clock)
    heard = MonitoredQueue(queue, clock)
    await heard.receive(1, 0)
    assert shown(heard) == ("ok", "")
    queue.mood = "no such subscription"
    with pytest.raises(QueueError):
        await heard.receive(1, 0)
    assert shown(heard) == ("down", "q: no such subscription")
    queue.mood = "hangs"
    asking = asyncio.create_task(heard.receive(1, 1.0))
    await clock.advance(12.0)
    assert shown(heard) == ("down", "q: no such subscription")
    asking.cancel()
    await asyncio.wait([asking])
    queue.mood = ""
    await heard.receive(1, 0)
    assert shown(heard) == ("ok", "")


async def test_a_send_that_fails_is_known(clock: ManualClock) -> None:
    queue = Moody("q", clock)
    heard = MonitoredQueue(queue, clock)
    await heard.receive(1, 0)
    queue.mood = "disk full"
    with pytest.raises(QueueError):
        await heard.send([Outgoing(b"x")])
    assert (heard.check.state, heard.check.message) == ("degraded", "a send failed: q: disk full")
    queue.mood = ""
    await heard.send([Outgoing(b"x")])
    assert heard.check.state == "ok"


async def test_a_ledger_that_cannot_be_written_is_down_and_still_read(ledger: Ill, clock: ManualClock) -> None:
    await bring(ledger, transfer("t"), State.RETRY)
    async with watching(ledger, clock) as found:
        await until(lambda: states(found)["ledger"] == "ok", clock)
        ledger.writable = False
        await until(lambda: states(found)["ledger"] == "down", clock)
        assert found.checks()[0].message == "ledger.db: database or disk is full"
        assert found.facts.oldest == {"route": transfer("t").occurred_at}
        ledger.readable = False
        await until(lambda: found.facts.oldest is None and found.facts.letters is None, clock)
        ledger.readable = ledger.writable = True
        await until(lambda: found.facts.letters == 0 and found.facts.oldest is not None, clock)
        await until(lambda: states(found)["ledger"] == "ok", clock)


async def test_a_ledger_that_hangs_is_down(ledger: Ill, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one that another process has locked."""
    async with watching(ledger, clock) as found:
        await until(lambda: states(found)["ledger"] == "ok", clock)
        await until(lambda: found.facts.letters == 0, clock)
        ledger.hangs = True
        monkeypatch.setattr(monitor, "QUICK", 0.01)
        await found.refresh()
        assert found.facts.letters == 0, "one answer that did not come in such a hurry"
        await until(lambda: states(found)["ledger"] == "down" and found.facts.oldest is None, clock)
        await until(lambda: found.facts.transfers is None and found.facts.letters is None, clock)


async def test_the_first_status_request_waits_for_the_first_count(
    ledger: Ill, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that has just begun says how many dead letters there are, rather than that it does not know."""
    monkeypatch.setattr(monitor, "QUICK", 0.0)
    found = Monitor(ledger, clock, [], {})
    await found.refresh()
    assert found.facts.letters == 0


async def test_a_probe_names_what_waits_and_its_failure_hides_nothing(ledger: Ill, clock: ManualClock) -> None:
    fails = False

    async def look() -> list[HealthCheck]:
        if fails:
            raise LedgerError("locked")
        return [HealthCheck("work", "deletes", "degraded", "3 deletes are held back")]

    async with watching(ledger, clock, probes=[Probe("deletes", look)]) as found:
        await until(lambda: "deletes" in states(found), clock)
        assert found.checks()[-1].message == "3 deletes are held back"
        fails = True
        await until(lambda: "locked" in found.checks()[-1].message, clock)
        assert states(found) == {"ledger": "ok", "deletes": "degraded"}


def test_a_change_is_reported_once() -> None:
    records: list[Record] = []

    class Ears:
        def on(self, record: Record) -> None:
            records.append(record)

    reporter = CheckReporter(Ears())
    full = HealthCheck("ledger", "ledger", "down", "disk is full")
    reporter.report([HealthCheck("ledger", "ledger", "down", NOT_YET), HealthCheck("queue", "q", "ok")])
    for _ in range(3):
        reporter.report([full, HealthCheck("queue", "q", "down", "gone")])
    reporter.report([HealthCheck("worker", "worker", "down", "it is draining")])
    reporter.report([HealthCheck("ledger", "ledger", "ok"), HealthCheck("queue", "q", "down", "gone for good")])
    assert [(r.operation, r.queue, r.reason, r.message) for r in records] == [
        ("ledger", "", "down", "disk is full"),
        ("", "q", "down", "gone"),
        ("ledger", "", "ok", ""),
    ]


def test_one_failure_is_reported_by_one_record() -> None:
    """By `health.failing`; a check that fails for another reason is reported by `check.changed`, with its recovery."""
    records: list[Record] = []
    observer = SimpleNamespace(on=records.append)
    health, well = (
        Health(observer, ManualClock()),
        [HealthCheck("ledger", "ledger", "ok"), HealthCheck("queue", "q", "ok")],
    )
    reporter = CheckReporter(observer, health)

    def sample(checks: Sequence[HealthCheck]) -> list[tuple[str, str]]:
        reporter.report([health.amend_check(check) for check in checks])
        found: list[tuple[str, str]] = [(record.event, record.reason) for record in records]
        records.clear()
        return found

    health.record_use("", LedgerError("disk is full", hint="free some space"))
    health.record_use("q", QueueError("gone"))
    assert sample(well) == [("health.failing", ""), ("health.failing", "")]
    health.record_use("", None)
    assert sample(well) == [("health.restored", "")]
    assert sample([HealthCheck("ledger", "ledger", "down", "no answer within 5 s")]) == [("check.changed", "down")]
    health.record_use("", LedgerError("disk is full"))
    assert sample(well) == [("health.failing", "")]
    health.record_use("", None)
    assert sample(well) == [("health.restored", ""), ("check.changed", "ok")]


async def test_the_ledger_is_counted_less_often_while_nothing_is_worked_on(ledger: Ill, clock: ManualClock) -> None:
    """Each count wakes a thread; an idle service counts every ten seconds, and at once again with the first transfer."""
    arrivals, counts = 0, 0
    count_transfers = ledger.count_transfers

    async def count() -> dict[State, int]:
        nonlocal counts
        counts += 1
        return await count_transfers()

    ledger.count_transfers = count  # type: ignore[method-assign]  # counts the calls
    found = Monitor(ledger, clock, (), {}, (), lambda: arrivals)
    task = asyncio.create_task(found.run())
    for _ in range(40):
        await clock.advance(1.0)
    assert 3 <= counts <= 5
    before, arrivals = counts, 1
    for _ in range(3):
        await clock.advance(1.0)
    assert counts == before + 1
    task.cancel()
    await asyncio.wait([task])
