"""A transfer whose message no longer exists is processed again: once, after a long time, and as its event would be."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.engine.lab import Lab

from skyferry.config.settings import Settings
from skyferry.engine.consume.in_flight import InFlight, LeasedMessage
from skyferry.engine.consume.intake import EventReader
from skyferry.engine.consume.worker import Worker, WorkerPolicy
from skyferry.engine.context import EngineContext
from skyferry.engine.copy.copier import Copier
from skyferry.engine.copy.digests import InlineOffload
from skyferry.engine.copy.strategy import PartLimits
from skyferry.engine.dead_letters.lost_messages import (
    LOST,
    PAGE,
    PAUSE,
    LocalWork,
    LostMessageRecovery,
    build_event,
    find_patience,
)
from skyferry.engine.dead_letters.redrive import RedriveQueue
from skyferry.engine.resilience.circuit_breaker import Breaker, BreakerPolicy
from skyferry.engine.resilience.memory_budget import MemoryBudget
from skyferry.errors import MessageLost
from skyferry.model import Change, Claim, Position, State, Transfer
from skyferry.ports import Dead, EventQueue, Filter, Message, Released, Settlement
from skyferry.queues.memory import MemoryQueue
from skyferry.routing.routes import Routes
from skyferry.testing.ledger.harness import claim as claim_all
from skyferry.testing.ledger.harness import failure

ALL = Filter()
WITH_DELETES = Settings.model_validate(
    {
        "stores": {"source": {"url": "memory://source"}, "destination": {"url": "memory://destination"}},
        "routes": [{"name": "r", "from": "source", "to": "destination", "deletes": "propagate"}],
        "queues": [{"name": "events", "url": "memory://events"}],
    }
)


class Scene:
    """Stores in memory, a ledger, and a process that has the role for housekeeping."""

    def __init__(self, settings: Settings = WITH_DELETES) -> None:
        self.lab = Lab(settings=settings)
        self.ledger: Any = self.lab.ledger()
        self.known: set[str] = set()
        self.blocked: list[str] = []
        self.queue_down = False
        self.clock: Any = self.lab.clock
        self.breakers = {"destination": Breaker(BreakerPolicy(), self.clock)}
        self.queue = MemoryQueue("events", self.clock)

    def recovery(self) -> LostMessageRecovery:
        context = EngineContext(
            self.ledger, self.lab.routes.by_name, self.breakers, self.clock, random.Random(1), self.lab
        )
        local = LocalWork(
            self.lab.routes.by_name,
            self.lab.routes.leads,
            lambda transfers: self.known,
            lambda: self.blocked,
            lambda: self.queue_down,
            "events",
        )
        return LostMessageRecovery(context, local)

    def worker(self) -> Worker:
        """A process that takes redriven letters."""
        lab, stores = self.lab, {"source": self.lab.source, "destination": self.lab.destination}
        context = EngineContext(self.ledger, lab.routes.by_name, {}, self.clock, random.Random(1), lab)
        copier = Copier(stores, MemoryBudget(10_000), InlineOffload(), self.clock, PartLimits(1000, 1, 100))
        queues: list[EventQueue] = [self.queue, RedriveQueue(self.ledger, self.clock, poll=0.05)]
        return Worker(context, EventReader(lab.routes), copier, queues, WorkerPolicy(16, 8, drain=0.0, poll=0.05))

    def transfers(self, *keys: str, **changes: Any) -> list[Transfer]:
        return [t for key in keys for t in self.lab.routes.match(replace(self.lab.event(key), **changes))]

    async def lose(self, *keys: str, **changes: Any) -> list[Transfer]:
        """Leave transfers claimed by a worker that is gone, with their messages."""
        found = self.transfers(*keys, **changes)
        dead = self.lab.ledger()
        assert all(isinstance(answer, Claim) for answer in await dead.claim(found))
        return found

    async def look(self, recovery: LostMessageRecovery | None = None) -> int:
        """Read a page of each state."""
        looking = recovery or self.recovery()
        return sum([await looking.recover_page() for _ in range(2)])

    async def states(self, transfers: Sequence[Transfer]) -> list[tuple[State, str]]:
        rows = [await self.ledger.get_transfer(t.id) for t in transfers]
        return [(row.state, row.reason) for row in rows]

    async def work(self) -> None:
        """Let a worker process what is redriven."""
        async with self.lab.running(self.worker()):
            await self.lab.clock.advance(60)


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"position": Position("gcs-generation", f"{7:020d}.{1:020d}"), "format": "gcs"},
        {"position": Position("gcs-generation", f"{7:020d}.{1:020d}")},
        {"event_id": "an id of a provider", "correlation_id": "another", "format": "s3"},
    ],
    ids=["native", "position of a provider", "position of a sender", "no uuid"],
)
async def test_the_transfer_itself_is_done(scene: Scene, changes: dict[str, Any]) -> None:
    """Its id may be made of anything. No other transfer is made, and nothing counts as behind."""
    await scene.lab.put("k")
    lost = await scene.lose("k", **changes)
    assert await scene.ledger.find_oldest_unsettled() != {}
    await scene.lab.clock.advance(LOST + 1)
    assert await scene.look() == 1
    await scene.work()
    assert await scene.states(lost) == [(State.DONE, "")]
    assert await scene.ledger.find_oldest_unsettled() == {}
    assert await scene.ledger.count_dead_letters() == []
    counts = await scene.ledger.count_transfers()
    assert sum(counts.values()) == 1
    assert scene.lab.count("transfer.message_lost") == 1
    assert scene.lab.count("transfer.dead") == 0


async def test_late_changes_are_expected_of_a_key_that_was_taken_over(scene: Scene) -> None:
    """The worker of this process is the owner already when it claims the key, so its own claim is no takeover."""
    await scene.lose("k")
    await scene.lab.clock.advance(LOST + 1)
    assert await scene.look() == 1
    assert scene.breakers["destination"].time_landing("k") > 0


async def test_a_copy_that_is_there_is_adopted(scene: Scene) -> None:
    """The settlement was forgotten, not the copy: it is not written again."""
    await scene.lab.put("k")
    event = scene.lab.event("k")
    forgotten = scene.ledger
    scene.ledger = scene.lab.ledger()
    await scene.lab.send("k", event_id=event.event_id)
    worker = scene.lab.worker(forgotten)
    async with scene.lab.running(worker):
        await scene.lab.until(lambda: scene.lab.count("transfer.done") == 1)
    before = await scene.lab.destination.head("k")
    fresh = Lab(settings=WITH_DELETES)
    fresh.clock, fresh.source, fresh.destination = scene.lab.clock, scene.lab.source, scene.lab.destination
    scene.lab, scene.ledger = fresh, fresh.ledger()
    lost = await scene.lose("k", event_id=event.event_id)
    await fresh.clock.advance(LOST + 1)
    assert await scene.look() == 1
    await scene.work()
    assert await scene.states(lost) == [(State.DONE, "")]
    assert (await fresh.destination.head("k")).version == before.version


async def test_an_object_that_is_gone_is_skipped(scene: Scene) -> None:
    lost = await scene.lose("k")
    await scene.lab.clock.advance(LOST + 1)
    assert await scene.look() == 1
    await scene.work()
    assert await scene.states(lost) == [(State.SKIPPED, "gone")]


@pytest.mark.parametrize("again", [False, True], ids=["gone", "written again"])
async def test_a_delete_looks_at_the_source(scene: Scene, *, again: bool) -> None:
    """An object that has come back since is not deleted at the destination."""
    await scene.lab.put("k")
    await scene.lab.send("k")
    async with scene.lab.running(scene.lab.worker(scene.ledger)):
        await scene.lab.until(lambda: scene.lab.count("transfer.done") == 1)
    await scene.lab.clock.advance(1)
    await scene.lab.source.delete("k")
    lost = await scene.lose("k", change=Change.DELETED)
    if again:
        await scene.lab.put("k", b"newer")
    await scene.lab.clock.advance(LOST + 1)
    assert await scene.look() == 1
    await scene.work()
    assert list(scene.lab.bucket.objects) == (["k"] if again else [])
    assert (await scene.states(lost))[0][0].settled


async def test_a_message_that_comes_after_all_is_only_skipped(scene: Scene) -> None:
    """Also if it comes while the letter waits."""
    await scene.lab.put("k")
    event = scene.lab.event("k")
    same = {"event_id": event.event_id, "occurred_at": event.occurred_at}
    lost = await scene.lose("k", **same)
    await scene.lab.clock.advance(LOST + 1)
    assert await scene.look() == 1
    await scene.lab.send("k", **same)
    async with scene.lab.running(scene.lab.worker(scene.ledger)):
        await scene.lab.until(lambda: scene.lab.count("message.acked") == 1)
    assert await scene.states(lost) == [(State.DONE, "")]
    version = (await scene.lab.destination.head("k")).version
    await scene.work()
    assert (await scene.lab.destination.head("k")).version == version
    assert (await scene.ledger.count_redriven(), await scene.ledger.count_dead_letters()) == (0, [])


async def test_nothing_happens_before_its_time(scene: Scene) -> None:
    """The time counts from when a retry is due."""
    (retried,) = scene.transfers("k")
    (claim,) = await scene.ledger.claim([retried])
    await scene.ledger.settle([Settlement(claim, Released(delay=500))])
    await scene.lose("j")
    await scene.lab.clock.advance(LOST - 1)
    assert await scene.look() == 0
    await scene.lab.clock.advance(2)
    assert await scene.look() == 1
    await scene.lab.clock.advance(500)
    assert await scene.look() == 1


async def test_work_in_progress_is_left_alone(scene: Scene) -> None:
    """A copy may take hours: its worker renews the lease, or it is in hand here."""
    other = scene.lab.ledger()
    (claim,) = await claim_all(other, *scene.transfers("k"))
    known = await scene.lose("j")
    await scene.lab.clock.advance(LOST + 1)
    await other.renew([claim])
    scene.known = {known[0].id}
    assert await scene.look() == 0
    scene.known = set()
    assert await scene.look() == 1
    (settled,) = await other.settle([Settlement(claim, Released())])
    assert settled, "its claim is as it was"


async def test_it_happens_once(scene: Scene) -> None:
    """A letter that waits, for a store that is down, replaces the message however long it waits."""
    await scene.lose("k")
    await scene.lab.clock.advance(LOST + 1)
    assert await scene.look() == 1
    for _ in range(3):
        await scene.lab.clock.advance(LOST + 1)
        assert await scene.look() == 0
    assert await scene.ledger.count_redriven() == 1


async def test_many_make_no_flood(scene: Scene) -> None:
    """A page at a time, with a pause, until all are found."""
    lost = await scene.lose(*(f"k{number}" for number in range(2 * PAGE + 10)))
    await scene.lab.clock.advance(LOST + 1)
    running = asyncio.create_task(scene.recovery().run())
    await scene.lab.clock.advance(LOST)
    found = []
    for _ in range(8):
        before = scene.lab.count("transfer.message_lost")
        await scene.lab.clock.advance(PAUSE)
        found.append(scene.lab.count("transfer.message_lost") - before)
    running.cancel()
    assert max(found) <= PAGE
    assert scene.lab.count("transfer.message_lost") == len(lost)


@pytest.mark.parametrize("what", ["source", "destination", "queue"])
async def test_an_outage_gives_the_work_time(scene: Scene, what: str) -> None:
    """The time in which waiting work must be processed begins at the end of the outage."""
    await scene.lose("k")
    scene.blocked, scene.queue_down = ([], True) if what == "queue" else ([what], False)
    running = asyncio.create_task(scene.recovery().run())
    await scene.lab.clock.advance(3 * LOST)
    scene.blocked, scene.queue_down = [], False
    await scene.lab.clock.advance(LOST - 2 * PAUSE)
    assert scene.lab.count("transfer.message_lost") == 0
    await scene.lab.clock.advance(5 * PAUSE)
    running.cancel()
    assert scene.lab.count("transfer.message_lost") == 1


async def test_a_store_that_is_down_stops_only_its_transfers(scene: Scene) -> None:
    scene.blocked = ["third"]
    await scene.lose("k")
    running = asyncio.create_task(scene.recovery().run())
    await scene.lab.clock.advance(LOST + 3 * PAUSE)
    running.cancel()
    assert scene.lab.count("transfer.message_lost") == 1


async def test_a_process_that_dies_in_between_leaves_a_letter_that_is_redriven(scene: Scene) -> None:
    """By the next one; other letters stay."""
    (mine, other) = await scene.lose("k", "other")
    await scene.lab.clock.advance(60)
    claims = await scene.ledger.claim([mine, other])
    reasons = (MessageLost.kind, "permission_denied")
    deaths = [Dead(failure(kind=reason), b"{}", ()) for reason in reasons]
    await scene.ledger.settle([Settlement(c, death) for c, death in zip(claims, deaths, strict=True)])
    running = asyncio.create_task(scene.recovery().run())
    await scene.lab.clock.advance(1)
    running.cancel()
    assert await scene.states([mine, other]) == [(State.RETRY, MessageLost.kind), (State.DEAD, "permission_denied")]


async def test_a_transfer_of_another_configuration_is_left_to_it(scene: Scene) -> None:
    """`OrphanSettler` decides about a route that is gone."""
    (transfer,) = scene.transfers("k")
    await scene.lab.ledger().claim([replace(transfer, route="gone")])
    await scene.lab.clock.advance(LOST + 1)
    assert await scene.look() == 0


def test_a_key_that_an_event_chose_is_chosen_again() -> None:
    """A directed event names it; the date of a key is that of the event."""
    stores = {"source": {"url": "memory://source"}, "destination": {"url": "memory://destination"}}
    plain = {"name": "dated", "from": "source", "to": "destination", "key": "{yyyy}/{key}"}
    directed = {"name": "directed", "from": "source", "to": "destination", "directed": True}
    lab = Lab()
    for route, key in ((plain, ""), (directed, "elsewhere/k")):
        routes = Routes(Settings.model_validate({"stores": stores, "routes": [route]}))
        event = replace(lab.event("k"), occurred_at=1_000_000_000.0)
        if key:
            event = replace(event, destination=replace(event.source, bucket="destination", key=key))
        (before,) = routes.match(event)
        (after,) = routes.match(build_event(before, routes.by_name[before.route]))
        assert (after.key, after.occurred_at) == (before.key, before.occurred_at)
        assert before.key in ("2001/k", "elsewhere/k")


def test_the_time_is_longer_than_leases() -> None:
    assert find_patience([30.0]) == find_patience([]) == LOST
    assert find_patience([30.0, 12 * 3600.0]) == 24 * 3600.0


async def test_a_message_that_waits_here_is_known() -> None:
    """It is not lost, however long it waits."""
    lab = Lab()
    queue = MemoryQueue("events", lab.clock)
    message = Message("1", b"", "r", 1, lab.clock.time(), lab.clock.time() + 30)
    transfers = [t for key in ("a/1", "b/2", "b/3") for t in lab.routes.match(lab.event(key))]
    transfers[2] = replace(transfers[2], occurred_at=5.0)
    in_flight = InFlight(10)
    waits, flies = LeasedMessage(queue, message), LeasedMessage(queue, message)
    (task,) = in_flight.attach_message([transfers[0]], waits, 0.0)
    in_flight.finish_task(task, retry_at=1.0)
    in_flight.waiting.enter(waits, 1e9)
    in_flight.attach_message([transfers[1]], flies, 0.0)
    assert in_flight.find_known(transfers) == {transfers[0].id, transfers[1].id}
