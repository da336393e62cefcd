"""A waiting message stays leased: a provider's redrive policy counts no receive for a store that is down, a busy key, a retry."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from math import inf
from typing import Any

import pytest
from tests.engine.copy.test_multipart import SETTINGS
from tests.engine.lab import Gated, Lab

from skyferry.config.settings import RouteSettings
from skyferry.engine.consume.in_flight import InFlight, LeasedMessage
from skyferry.engine.consume.waiting import DISMISSED, WaitingRoom, busy_pause, estimate_size
from skyferry.engine.consume.worker import Worker, WorkerPolicy
from skyferry.errors import LedgerError, SkyferryError, StoreUnavailable, Throttled
from skyferry.model import QueueTraits
from skyferry.ports import Message
from skyferry.queues.memory import MemoryQueue, QueueState
from skyferry.records import Record
from skyferry.testing.clock import ManualClock

HOUR = 3600.0


class Store:
    """A destination that can be made to fail and to be slow."""

    def __init__(self, inner: Any, error: SkyferryError | None = None) -> None:
        self._inner, self.error = inner, error
        self.asked = 0
        self.gate: asyncio.Event | None = None

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._inner, name)
        if name not in ("write", "head"):
            return inner

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.asked += 1
            if self.error:
                raise self.error
            if self.gate and name == "write":
                await self.gate.wait()
            return await inner(*args, **kwargs)

        return call


def keys(count: int, prefix: str = "k") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def unbroken(worker: Worker) -> Worker:
    """Its breakers stay closed."""
    for breaker in worker._context.breakers.values():
        breaker.record_outage = lambda side, key, retry_after: None  # type: ignore[method-assign]  # what is meant
    return worker


async def announced(lab: Lab, *names: str, **changes: Any) -> list[str]:
    for name in names:
        await lab.put(name, name.encode())
    return await lab.send(*names, **changes)


@pytest.mark.parametrize("error", [StoreUnavailable(), Throttled()])
async def test_an_outage_takes_one_receive_of_each_message(error: SkyferryError) -> None:
    """Those that were received before the outage was noticed; the others are not received at all."""
    lab = Lab()
    store = lab.destination = Store(lab.destination, error)
    await announced(lab, *keys(40))
    async with lab.running(lab.worker()):
        await lab.clock.advance(HOUR / 2)
        assert 0 < max(lab.received.values()) == 1
        store.error = None
        await lab.until(lambda: len(lab.bucket.objects) == 40, step=1, steps=120)
        await lab.clock.advance(1)
        assert max(lab.received.values()) == 1
        assert await lab.left() == 0
    assert lab.count("transfer.dead") == lab.count("message.released") == 0


async def test_a_key_that_another_worker_holds_is_asked_for_in_the_ledger() -> None:
    """The newer version waits in hand until the older one is copied, and ends at the destination."""
    lab = Lab()
    store = lab.destination = Store(lab.destination)
    store.gate = asyncio.Event()
    await announced(lab, "k")
    first = lab.worker()
    async with lab.running(first):
        await lab.until(lambda: store.asked > 0)
        async with lab.running(lab.worker()):
            first._stop.set()  # it goes on copying, and receives nothing more
            await lab.clock.advance(1)
            await lab.put("k", b"newer")
            (message,) = await lab.send("k")
            await lab.clock.advance(300)
            assert lab.received[message] == 1
            store.gate.set()
            await lab.until(lambda: lab.count("transfer.done") + lab.count("transfer.skipped") == 2, step=0.5)
            assert (await store.read("k", 0, 100)).data == b"newer"
    assert lab.count("message.released") == 0


@pytest.mark.parametrize(("waits", "least", "most"), [(0, 0.25, 0.5), (1, 0.5, 1.0), (3, 2.0, 4.0), (50, 2.5, 5.0)])
def test_a_busy_key_is_asked_for_ever_more_seldom(waits: int, least: float, most: float) -> None:
    assert (busy_pause(waits, 0.0), busy_pause(waits, 1.0)) == (least, most)


class Blocked(Store):
    """Fails for keys that begin with b."""

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._inner, name)
        if name not in ("write", "head"):
            return inner

        async def call(key: str, *args: Any, **kwargs: Any) -> Any:
            if self.error and key.startswith("b"):
                raise self.error
            return await inner(key, *args, **kwargs)

        return call


async def test_beyond_the_room_it_is_given_back_twice_and_then_kept() -> None:
    """A quarter finds room. What could be worked on goes on; and where receives are limited, three are the most."""
    lab = Lab()
    lab.queue_traits = QueueTraits(limits_receives=True)
    store = lab.destination = Blocked(lab.destination, Throttled())
    policy = WorkerPolicy(held_messages=64, batch=16, drain=0.0, waiting_messages=5)
    await announced(lab, *keys(20, "b"))
    async with lab.running(unbroken(lab.worker(policy=policy))):
        await lab.clock.advance(5)
        await announced(lab, *keys(20, "a"))
        await lab.clock.advance(5)
        assert len(lab.bucket.objects) == 20
        await lab.clock.advance(HOUR)
        assert max(lab.received.values()) == 1 + len(DISMISSED)
        store.error = None
        await lab.until(lambda: len(lab.bucket.objects) == 40, step=10, steps=120)
    assert max(lab.received.values()) == 1 + len(DISMISSED)


class Failing:
    """A ledger that does not answer."""

    def __init__(self, inner: Any) -> None:
        self._inner, self.down = inner, True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def claim(self, transfers: Sequence[Any]) -> Any:
        if self.down:
            raise LedgerError("disk full")
        return await self._inner.claim(transfers)


async def test_a_ledger_that_does_not_answer_takes_no_receives() -> None:
    lab = Lab()
    ledger = Failing(lab.ledger())
    await announced(lab, *keys(3))
    async with lab.running(lab.worker(ledger)):
        await lab.clock.advance(HOUR)
        ledger.down = False
        await lab.until(lambda: len(lab.bucket.objects) == 3, step=1, steps=120)
    assert set(lab.received.values()) == {1}


async def test_an_object_that_is_too_young_waits_in_hand() -> None:
    """With leases as long as are needed, so that an hour takes few renewals."""
    young = RouteSettings.model_validate(
        {"name": "r", "from": "source", "to": "destination", "filter": {"min_age": HOUR}}
    )
    lab = Lab(settings=SETTINGS.model_copy(update={"routes": (young,)}))
    (message,) = await announced(lab, "k")
    async with lab.running(lab.worker()):
        await lab.clock.advance(HOUR - 1)
        assert not lab.bucket.objects
        await lab.clock.advance(2)
        assert lab.bucket.objects
    assert lab.received[message] == 1


async def test_a_drain_gives_back_what_waits() -> None:
    """For as long as it had to wait anyway; the next worker has it then."""
    lab = Lab()
    store = lab.destination = Store(lab.destination, StoreUnavailable())
    await announced(lab, *keys(8))
    async with lab.running(worker := lab.worker()):
        await lab.clock.advance(100)
        assert worker.waiting == 8
        assert set(worker.oldest()) == {"r"}
    store.error = None
    assert worker.waiting == 0
    async with lab.running(lab.worker()):
        await lab.until(lambda: len(lab.bucket.objects) == 8, step=1, steps=120)
    assert set(lab.received.values()) == {2}


async def test_a_drain_ends_with_the_last_transfer_that_had_begun() -> None:
    """Nothing is polled: no time passes after its end."""
    lab = Lab()
    store = lab.destination = Store(lab.destination)
    store.gate = asyncio.Event()
    await announced(lab, *keys(3))
    worker = lab.worker(policy=WorkerPolicy(held_messages=64, batch=16, drain=30.0))
    running = asyncio.create_task(worker.run())
    await lab.clock.advance(1)
    worker.drain()
    await lab.clock.advance(20.01)
    assert not running.done()
    store.gate.set()
    for _ in range(10):
        await lab.clock.advance(0)
    assert running.done()
    assert len(lab.bucket.objects) == 3


class Forgetful(MemoryQueue):
    """A message stays leased for an hour, however often it is extended."""

    async def extend(self, messages: Sequence[Message], seconds: float = 0.0) -> list[Message]:
        old = [m for m in messages if self._clock.time() > m.lease_until - self.lease + HOUR]
        await self.release(old, 0.0)
        return [*old, *await super().extend([m for m in messages if m not in old], seconds)]


async def test_what_its_queue_takes_back_is_waited_for_anew() -> None:
    """As SQS does after twelve hours: it comes again, and is worked on once."""
    lab = Lab()
    store = lab.destination = Store(lab.destination, StoreUnavailable())
    await announced(lab, *keys(3))
    worker = lab.worker()
    queue = Forgetful("events", lab.clock, lab.lease, lab.queue_state)
    worker._queues = [queue]
    async with lab.running(worker):
        await lab.clock.advance(3 * HOUR)
        store.error = None
        await lab.until(lambda: len(lab.bucket.objects) == 3, step=1, steps=120)
        await lab.clock.advance(5)
        assert await lab.left() == 0
        assert worker.idle


async def test_each_refusal_of_the_rate_is_waited_for_longer() -> None:
    """No attempt is burned by it; but one message alone asks 1, 2, 4 ... 60 seconds later, at most."""
    lab = Lab()
    heard: list[Record] = lab.heard
    lab.destination = Store(lab.destination, Throttled())
    await announced(lab, "k")
    worker = unbroken(lab.worker())
    worker._context.random.random = lambda: 0.999  # type: ignore[method-assign]  # each delay is as long as it can be
    async with lab.running(worker):
        await lab.clock.advance(200)
    delays = [round(record.delay or 0) for record in heard if record.event == "transfer.retry"]
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_an_event_that_comes_while_its_transfer_is_settled_waits_in_hand() -> None:
    """It may be a redrive; a second later it is looked at, and costs no other receive."""
    lab = Lab()
    ledger = Gated(lab.ledger())
    await lab.put("k")
    event = lab.event("k")
    same = {"event_id": event.event_id, "occurred_at": event.occurred_at}
    async with lab.running(lab.worker(ledger)):
        await lab.send("k", **same)
        await lab.until(lambda: ledger.waiting == 1)
        await lab.send("k", **same)
        await lab.clock.advance(0.5)
        ledger.gate.set()
        await lab.clock.advance(5)
        assert await lab.left() == 0
    assert set(lab.received.values()) == {1}


def test_the_room_is_bounded_by_bytes_too() -> None:
    """A message that was released twice is kept in any case."""
    message = Message("m", bytes(1000), "r", 1, 0.0, 30.0)
    queue = MemoryQueue("events", ManualClock(), 30.0, QueueState())
    queue.traits = QueueTraits(limits_receives=True)
    room = WaitingRoom(10, 2 * estimate_size(message))
    assert [room.enter(LeasedMessage(queue, message), 0.0) for _ in range(3)] == [None, None, DISMISSED[0]]
    assert (room.is_full("events"), room.is_overfull("events")) == (True, False)
    again = LeasedMessage(queue, Message("m", bytes(1000), "r", 3, 0.0, 30.0))
    assert room.enter(again, 0.0) is None
    assert room.is_overfull("events")
    room.leave(again)
    assert room.size == 2 * estimate_size(message)


def test_what_is_due_without_room_is_looked_at_once_a_turn() -> None:
    """Looks that find nothing, one after the other without a pause, would stop the event loop."""
    queue = MemoryQueue("events", ManualClock(), 30.0, QueueState())
    flight = InFlight(1)
    waits, works = (LeasedMessage(queue, Message(name, b"", "r", 1, 0.0, 30.0)) for name in "ab")
    flight.add_messages([waits, works])
    flight.waiting.enter(waits, 5.0)
    assert [flight.time_to_due(now, 1.0) for now in (0.0, 4.5, 6.0)] == [5.0, 1.0, 1.0]
    assert flight.take_due(6.0, 10, lambda _: 0.0) == []
    flight.remove_message(works)
    assert flight.time_to_due(6.0, 1.0) == 0.0
    assert flight.take_due(6.0, 10, lambda _: 0.0) == [waits]
    assert flight.time_to_due(6.0, 1.0) == inf
