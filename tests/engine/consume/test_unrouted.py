"""An event that no route takes is kept or remembered, never acked away; and what waits for a route that is gone has an end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from skyferry.config.settings import Settings
from skyferry.engine.consume.intake import EventReader
from skyferry.engine.consume.worker import Worker, WorkerPolicy
from skyferry.engine.context import EngineContext
from skyferry.engine.copy.copier import Copier
from skyferry.engine.copy.digests import InlineOffload
from skyferry.engine.copy.strategy import PartLimits
from skyferry.engine.dead_letters.redrive import RedriveQueue
from skyferry.engine.orphans import LocalTransfers, OrphanSettler
from skyferry.engine.resilience.memory_budget import MemoryBudget
from skyferry.errors import PermissionDenied
from skyferry.events.native import encode_event
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.model import Attributes, Change, Checksums, ObjectEvent, ObjectMeta, ObjectRef, Provider, State
from skyferry.ports import EventQueue, Filter, Outgoing, Released, Settlement
from skyferry.queues.memory import MemoryQueue
from skyferry.records import Record
from skyferry.routing.routes import Routes
from skyferry.stores.memory import MemoryStore
from skyferry.testing.clock import ManualClock

ALL = Filter()
IDS = [f"{n}{n}{n}{n}{n}{n}{n}{n}-1111-4111-8111-111111111111" for n in range(10)]


class Refusing(MemoryStore):
    """May not be written until it says so."""

    open = True

    async def write(self, key: str, *args: Any, **kwargs: Any) -> ObjectMeta:
        if not self.open:
            raise PermissionDenied
        return await super().write(key, *args, **kwargs)


class Scene:
    """One queue, one ledger, and workers of one configuration after the other."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.ledger, self.queue = MemoryLedger("one", self.clock), MemoryQueue("events", self.clock)
        self.stores = {name: Refusing(name, self.clock) for name in ("source", "second", "destination")}
        self.heard: list[Record] = []

    def on(self, record: Record) -> None:
        self.heard.append(record)

    def event(self, key: str, bucket: str = "source", change: Change = Change.CREATED, number: int = 1) -> ObjectEvent:
        source = ObjectRef(Provider.MEMORY, bucket, key)
        return ObjectEvent(IDS[number], change, source, self.clock.time(), IDS[0])

    async def run(
        self,
        *routes: dict[str, Any],
        unknown: str = "keep",
        seconds: float = 5,
        stores: Any = None,
        queues: Any = (),
        region: str = "",
    ) -> Routes:
        """Everything in the queues, by a worker with these routes."""
        urls = stores or {name: {"url": f"memory://{name}"} for name in self.stores}
        settings = Settings.model_validate({"stores": urls, "routes": routes, "queues": queues, "region": region})
        compiled = Routes(settings)
        context = EngineContext(self.ledger, compiled.by_name, {}, self.clock, random.Random(1), self)
        copier = Copier(self.stores, MemoryBudget(10_000), InlineOffload(), self.clock, PartLimits(1000, 1, 100))
        taken: list[EventQueue] = [self.queue, RedriveQueue(self.ledger, self.clock)]
        policy = WorkerPolicy(16, 8, drain=0.0, unknown_buckets={"events": unknown})
        worker = Worker(context, EventReader(compiled), copier, taken, policy)
        running = asyncio.create_task(worker.run())
        await self.clock.advance(seconds)
        worker.drain()
        await self.clock.advance(2)
        await running
        self.orphans = OrphanSettler(
            context, LocalTransfers(compiled.leads, worker.has, self.stores, copier.abort_uploads)
        )
        return compiled

    async def waiting(self) -> int:
        """Messages in the queue."""
        depth = await self.queue.depth()
        return depth.ready + depth.leased + depth.delayed

    def keys(self) -> list[str]:
        """Return the keys at the destination."""
        return sorted(self.stores["destination"].bucket.objects)

    def list_reported(self, *names: str) -> list[tuple[str, str]]:
        """Return the records of these names."""
        return [(r.event, r.reason) for r in self.heard if r.event in names]


def route(**more: Any) -> dict[str, Any]:
    """From source to destination."""
    return {"name": "r", "from": "source", "to": "destination", **more}


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def put(scene: Scene, key: str, bucket: str = "source") -> None:
    """An object at the source."""
    await scene.stores[bucket].write(key, b"x", Attributes(), Checksums())


async def test_an_event_of_an_unknown_bucket_is_a_letter(scene: Scene) -> None:
    """A duplicate makes no second one; redriven under the corrected configuration, its object is copied."""
    await put(scene, "k", "second")
    body = encode_event(scene.event("k", "second"))
    await scene.queue.send([Outgoing(body), Outgoing(body)])
    misspelt = {"source": {"url": "memory://sekond"}, "destination": {"url": "memory://destination"}}
    await scene.run(route(), stores=misspelt)
    (letter,) = (await scene.ledger.list_dead_letters(ALL)).items
    assert (letter.reason, letter.source, letter.queue) == ("unrouted_bucket", "memory://second/k", "events")
    assert await scene.ledger.count_unrouted() == [("memory://second", 1)]
    assert await scene.waiting() == 0
    assert scene.list_reported("event.unknown_bucket") == [("event.unknown_bucket", "kept")] * 2
    await scene.ledger.redrive(ALL)
    await scene.run(route(), stores=misspelt)
    assert [each.id for each in (await scene.ledger.list_dead_letters(ALL)).items] == [letter.id]
    await scene.ledger.redrive(ALL)
    await scene.run(route(**{"from": "second"}))
    assert scene.keys() == ["k"]
    assert await scene.ledger.count_dead_letters() == []


@pytest.mark.parametrize(("unknown", "outcome", "times"), [("release", "released", 4), ("ignore", "ignored", 1)])
async def test_an_unknown_bucket_is_passed_over_on_request(
    scene: Scene, unknown: str, outcome: str, times: int
) -> None:
    """Released it stays in the queue for others, after ever longer pauses; ignored it is counted."""
    await scene.queue.send([Outgoing(encode_event(scene.event("k", "elsewhere")))])
    await scene.run(route(), unknown=unknown, seconds=25)
    assert (await scene.ledger.count_dead_letters(), await scene.waiting()) == ([], times > 1)
    assert scene.list_reported("event.passed_over") == [("event.passed_over", outcome)] * times  # after 2, 4, 8 seconds


async def test_an_event_of_another_region_waits_for_a_worker_there(scene: Scene) -> None:
    """Neither its message nor a redriven letter of it ends here."""
    stores = {"source": {"url": "memory://source", "region": "eu"}, "destination": {"url": "memory://destination"}}
    await put(scene, "k")
    await scene.queue.send([Outgoing(encode_event(scene.event("k")))])
    here = route(run_in="source")
    await scene.run(here, stores=stores, region="us", seconds=3)
    assert scene.list_reported("event.other_region") == [("event.other_region", "eu")] * 2  # again after 2 seconds
    assert (await scene.waiting(), scene.keys()) == (1, [])
    scene.stores["destination"].open = False
    await scene.run(here, stores=stores, region="eu", seconds=10)
    (letter,) = (await scene.ledger.list_dead_letters(ALL)).items
    scene.stores["destination"].open = True
    await scene.ledger.redrive(ALL)
    await scene.run(here, stores=stores, region="us", seconds=5)
    row = await scene.ledger.get_transfer(letter.id)
    assert row is not None
    assert not row.state.settled
    await scene.run(here, stores=stores, region="eu", seconds=60)
    assert scene.keys() == ["k"]


async def test_a_refused_event_is_remembered_with_its_rule(scene: Scene) -> None:
    """One step of the ledger for all of a batch."""
    refused = [scene.event("b/k", number=1), scene.event("a/k", change=Change.DELETED, number=2)]
    await scene.queue.send([Outgoing(encode_event(event)) for event in refused])
    await scene.run(route(filter={"prefix": "a/"}))
    (one,), (two,) = [await scene.ledger.list_refusals(key) for key in ("b/k", "a/k")]
    assert (one.event_id, one.rules) == (IDS[1], (("r", "filter.prefix: a/"),))
    assert (two.change, two.rules) == (Change.DELETED, (("r", "deletes: ignore"),))
    assert await scene.waiting() == 0
    assert [r.message for r in scene.heard if r.event == "event.unrouted"] == [
        "route r: filter.prefix: a/",
        "route r: deletes: ignore",
    ]


def s3_record(key: object) -> dict[str, Any]:
    """A record of a notification."""
    body = {"bucket": {"name": "source"}, "object": {"key": key, "size": 1}}
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventTime": "2026-01-01T00:00:00Z",
        "eventName": "ObjectCreated:Put",
        "s3": body,
    }


async def test_each_record_of_a_message_has_its_own_fate(scene: Scene) -> None:
    """Good ones are known transfers, a bad one and one of an unknown bucket are letters of their own bodies."""
    foreign = s3_record("f")
    foreign["s3"]["bucket"]["name"] = "elsewhere"
    body = orjson.dumps({"Records": [s3_record("one"), s3_record(7), foreign, s3_record("two")]})
    await scene.queue.send([Outgoing(body)])
    stores = {"source": {"url": "s3://source"}, "destination": {"url": "memory://destination"}}
    await scene.run(route(), stores=stores)
    found = (await scene.ledger.list_transfers(ALL)).items
    assert sorted(row.transfer.source.key for row in found) == ["one", "two"]
    letters = {each.reason: each for each in (await scene.ledger.list_dead_letters(ALL)).items}
    assert orjson.loads(letters["event_error"].body) == {"Records": [s3_record(7)]}
    assert letters["event_error"].message.startswith("Records[1]")
    assert orjson.loads(letters["unrouted_bucket"].body) == {"Records": [foreign]}
    await scene.ledger.redrive(ALL)
    await scene.run(route(), stores=stores)
    assert {each.id for each in (await scene.ledger.list_dead_letters(ALL)).items} == {e.id for e in letters.values()}


async def dead(scene: Scene) -> str:
    """The id of a transfer of route r that is a dead letter."""
    await put(scene, "k")
    scene.stores["destination"].open = False
    await scene.queue.send([Outgoing(encode_event(scene.event("k")))])
    await scene.run(route())
    scene.stores["destination"].open = True
    (letter,) = (await scene.ledger.list_dead_letters(ALL)).items
    assert await scene.ledger.redrive(ALL) == 1
    return letter.id


async def test_a_redriven_letter_of_a_route_that_is_gone_stays_a_letter(scene: Scene) -> None:
    """With what to do; its transfer ends. Redriven once more with the route back, it is copied."""
    name = await dead(scene)
    await scene.run(route(**{"from": "second"}))
    (letter,) = (await scene.ledger.list_dead_letters(ALL)).items
    assert (letter.id, letter.reason, letter.redriven_at) == (name, "no_route", None)
    assert "no route reads from memory://source" in letter.message
    assert letter.hint
    row = await scene.ledger.get_transfer(name)
    assert row is not None
    assert (row.state, row.reason) == (State.DEAD, "no_route")
    await scene.ledger.redrive(ALL)
    await scene.run(route())
    assert (scene.keys(), await scene.ledger.count_dead_letters()) == (["k"], [])


async def test_a_redriven_letter_of_a_renamed_route_is_copied_by_the_new_one(scene: Scene) -> None:
    """To the same key; the transfer under the old name ends with a reason."""
    name = await dead(scene)
    await scene.run(route(name="renamed"))
    assert (scene.keys(), await scene.ledger.count_dead_letters()) == (["k"], [])
    row = await scene.ledger.get_transfer(name)
    assert row is not None
    assert (row.state, row.reason) == (State.SKIPPED, "no_route")


async def test_another_route_is_no_end_of_a_letter_whose_own_is_gone(scene: Scene) -> None:
    """It brings the event elsewhere, and may have done so before."""
    name = await dead(scene)
    await scene.run(route(name="other", key="there/{key}"))
    (letter,) = (await scene.ledger.list_dead_letters(ALL)).items
    assert (letter.id, letter.reason) == (name, "no_route")
    assert "route r no longer copies it to destination: k" in letter.message
    assert scene.keys() == ["there/k"]


async def test_a_letter_that_could_not_be_read_does_not_vanish_by_a_filter(scene: Scene) -> None:
    """Once it can be read, and no route takes it, it is a letter still."""
    await scene.queue.send([Outgoing(encode_event(scene.event("k", "elsewhere")))])
    await scene.run(route())
    await scene.ledger.redrive(ALL)
    stores = {"source": {"url": "memory://elsewhere"}, "destination": {"url": "memory://destination"}}
    await scene.run(route(filter={"suffix": ".jpg"}), stores=stores)
    (letter,) = (await scene.ledger.list_dead_letters(ALL)).items
    assert (letter.reason, letter.message) == ("no_route", "no route takes it: route r: filter.suffix: .jpg")


async def left(scene: Scene, give: Callable[[Any], Any]) -> str:
    """The id of a transfer of a route that is gone, left as `give` does it."""
    routes = await scene.run(route())
    (transfer,) = routes.match(scene.event("k"))
    (claim,) = await MemoryLedger("dead", scene.clock, state=scene.ledger._state).claim([transfer])
    await give(claim)
    await scene.run(route(name="new"))
    return transfer.id


@pytest.mark.parametrize("how", ["released", "claimed by a worker that died"])
async def test_what_waits_for_a_route_that_is_gone_ends(scene: Scene, how: str) -> None:
    """After a while, in which its message would have come; a worker that has the route may claim it still."""

    async def give(claim: Any) -> None:
        if how == "released":
            await scene.ledger.settle([Settlement(claim, Released())])

    name = await left(scene, give)
    assert [await scene.orphans.settle_page() for _ in range(2)] == [0, 0]
    await scene.clock.advance(120)
    assert sum([await scene.orphans.settle_page() for _ in range(2)]) == 1
    row = await scene.ledger.get_transfer(name)
    assert row is not None
    assert (row.state, row.reason) == (State.SKIPPED, "no_route")
    assert ("transfer.skipped", "no_route") in scene.list_reported("transfer.skipped")
    await put(scene, "k")
    await scene.queue.send([Outgoing(encode_event(scene.event("k")))])
    await scene.run(route())
    assert scene.keys() == ["k"]


async def test_what_waits_for_a_route_that_is_there_is_left_alone(scene: Scene) -> None:
    """However long it waits."""
    routes = await scene.run(route())
    (transfer,) = routes.match(scene.event("k"))
    (claim,) = await scene.ledger.claim([transfer])
    await scene.ledger.settle([Settlement(claim, Released())])  # type: ignore[arg-type]  # it is one
    await scene.clock.advance(1000)
    assert [await scene.orphans.settle_page() for _ in range(3)] == [0, 0, 0]


async def test_an_event_of_another_account_becomes_a_letter_that_names_it(scene: Scene) -> None:
    """Though a store has a container of that name."""
    topic = "/subscriptions/1/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/theirs"
    event = {
        "topic": topic,
        "subject": "/blobServices/default/containers/images/blobs/cat.jpg",
        "eventType": "Microsoft.Storage.BlobCreated",
        "eventTime": "2026-11-18T11:06:40Z",
        "id": IDS[1],
        "data": {"api": "PutBlob", "eTag": "0x1", "contentLength": 4, "sequencer": "FF"},
    }
    await scene.queue.send([Outgoing(orjson.dumps(event))])
    stores = {"source": {"url": "az://account/images"}, "destination": {"url": "memory://destination"}}
    await scene.run(route(), stores=stores)
    (letter,) = (await scene.ledger.list_dead_letters(ALL)).items
    assert (letter.reason, letter.source) == ("unrouted_bucket", "azure_blob://theirs:images/cat.jpg")
    assert await scene.ledger.count_unrouted() == [("azure_blob://theirs:images", 1)]


async def test_an_event_that_may_be_of_two_stores_is_a_letter_until_its_queue_says_whose(scene: Scene) -> None:
    """Redriven, it is judged by the queue that brought it first."""
    stores = {name: {"url": "memory://photos"} for name in ("source", "second")} | {
        "destination": {"url": "memory://d"}
    }
    routes = [route(), {"name": "s", "from": "second", "to": "destination", "key": "second/{key}"}]
    await put(scene, "k", "second")
    await scene.queue.send([Outgoing(encode_event(scene.event("k", "photos")))])
    await scene.run(*routes, stores=stores)
    (letter,) = (await scene.ledger.list_dead_letters(ALL)).items
    assert (letter.reason, letter.source, letter.queue) == ("unrouted_bucket", "memory://photos/k", "events")
    assert letter.message == "it is not known which store is memory://photos"
    assert "source or second" in letter.hint
    await scene.ledger.redrive(ALL)
    await scene.run(*routes, stores=stores, queues=[{"name": "events", "url": "memory://events", "stores": "second"}])
    assert scene.keys() == ["second/k"]
    assert await scene.ledger.count_dead_letters() == []
