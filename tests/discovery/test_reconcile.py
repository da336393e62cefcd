"""Changes while the folder was not watched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from skyferry.config.settings import Settings
from skyferry.discovery import reconcile
from skyferry.discovery.reconcile import Reconciler
from skyferry.errors import BucketNotFound, InvalidKey, ObjectNotFound, PermissionDenied, StoreTimeout
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.model import (
    Attributes,
    Change,
    Checksums,
    Claim,
    ObjectEvent,
    ObjectMeta,
    ObjectRef,
    Placement,
    Provider,
    Receipt,
    Transfer,
)
from skyferry.ports import Clock, Done, Settlement
from skyferry.routing.routes import Routes
from skyferry.stores.memory import MemoryBucket, MemoryStore

MIRROR = {"name": "mirror", "from": "in", "to": "out", "deletes": "propagate"}
ARCHIVE = {"name": "archive", "from": "in", "to": "out", "key": "old/{name}/{dir}", "deletes": "propagate"}


class World:
    """A source, a ledger, and what the engine would do about an event."""

    def __init__(self, clock: Clock, *routes: dict[str, Any]) -> None:
        stores = {name: {"url": f"memory://{name}"} for name in ("in", "out")}
        self.routes = Routes(Settings.model_validate({"stores": stores, "routes": routes or [MIRROR]}))
        self.bucket = MemoryBucket("in")
        self.source = MemoryStore("in", clock, self.bucket)
        self.ledger = MemoryLedger("me", clock)
        self.reconciler = Reconciler(self.source, Provider.MEMORY, "in", self.routes, self.ledger, clock.time)

    async def put(self, *keys: str) -> None:
        for key in keys:
            await self.source.write(key, b"data", Attributes(), Checksums())

    async def found(self, *prefixes: str) -> list[tuple[str, str]]:
        return sorted((e.change.value, e.source.key) for e in await self.events(*prefixes))

    async def events(self, *prefixes: str) -> list[ObjectEvent]:
        return [event async for page in self.reconciler.find_changes(prefixes or ("",)) for event in page]

    async def apply(self) -> None:
        """Bring the destinations up to date, as the engine would."""
        for event in await self.events():
            for transfer in self.routes.match(event):
                [claim] = await self.ledger.claim([transfer])
                assert isinstance(claim, Claim)
                await self.ledger.settle([Settlement(claim, await self._done(transfer))])

    async def _done(self, transfer: Transfer) -> Done:
        try:
            version = (await self.source.head(transfer.source.key)).version
        except ObjectNotFound:
            version = ""
        source = ObjectRef(Provider.MEMORY, "in", transfer.source.key, version=version)
        receipt = Receipt(version, "v", 4, Checksums(), Checksums(), Checksums(), None, 0.0, 0.0, 1)
        written = "" if transfer.change is Change.DELETED else "v"
        placement = Placement("out", transfer.key, source, not written, (), 0.0, written, transfer.id, 0.0)
        return Done(receipt, placement)


@pytest.fixture(params=[MIRROR, ARCHIVE], ids=["same keys", "other keys"])
def world(clock: Clock, request: pytest.FixtureRequest) -> World:
    return World(clock, request.param)


async def test_new_changed_and_deleted_objects_are_found_and_no_others(world: World) -> None:
    await world.put("a", "b", "d/c", "d/e", "é")
    assert await world.found() == [("created", k) for k in ("a", "b", "d/c", "d/e", "é")]
    await world.apply()
    assert await world.found() == []
    await world.put("b", "new")
    await world.source.delete("d/c")
    await world.source.delete("é")
    assert await world.found() == [("created", "b"), ("created", "new"), ("deleted", "d/c"), ("deleted", "é")]
    await world.apply()
    assert await world.found() == []


async def test_a_deleted_object_that_is_back_is_found(world: World) -> None:
    await world.put("a")
    await world.apply()
    await world.source.delete("a")
    await world.apply()
    await world.put("a")
    assert await world.found() == [("created", "a")]


async def test_only_what_begins_with_a_prefix_is_compared(world: World) -> None:
    await world.put("a", "d/c", "d/e", "d0", "f/g")
    await world.apply()
    for key in ("a", "d/c", "d0", "f/g"):
        await world.source.delete(key)
    await world.put("d/new", "z")
    assert await world.found("d/", "f/") == [("created", "d/new"), ("deleted", "d/c"), ("deleted", "f/g")]


async def test_the_page_bounds_what_is_compared_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "PAGE", 3)
    await world.put(*"abcdefgh")
    pages = [len(page) async for page in world.reconciler.find_changes()]
    assert pages == [3, 3, 2]
    await world.apply()
    for key in "aceg":
        await world.source.delete(key)
    assert await world.found() == [("deleted", key) for key in "aceg"]


async def test_deletes_are_not_found_for_routes_that_ignore_them(clock: Clock) -> None:
    world = World(clock, MIRROR | {"deletes": "ignore"})
    await world.put("a")
    await world.apply()
    await world.source.delete("a")
    assert await world.found() == []


async def test_objects_without_a_route_are_not_reported(clock: Clock) -> None:
    world = World(clock, MIRROR | {"filter": {"prefix": "x/"}})
    await world.put("a", "x/a")
    assert await world.found() == [("created", "x/a")]


async def test_an_object_is_reported_once_if_any_of_its_routes_lacks_it(clock: Clock) -> None:
    world = World(clock, MIRROR, ARCHIVE | {"filter": {"prefix": "x/"}})
    await world.put("a", "x/a")
    assert await world.found() == [("created", "a"), ("created", "x/a")]
    await world.apply()
    assert await world.found() == []


async def test_the_same_state_has_the_same_event_id_each_time(world: World) -> None:
    await world.put("a")
    assert await world.events() == await world.events()


async def test_a_source_that_is_not_there_does_not_look_like_deletes(world: World) -> None:
    await world.put("a")
    await world.apply()
    world.bucket.exists = False
    with pytest.raises(BucketNotFound):
        await world.found()


async def test_a_look_that_fails_is_no_delete(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.put("a", "b")
    await world.apply()
    await world.source.delete("a")

    async def slow(key: str) -> ObjectMeta:
        raise StoreTimeout

    monkeypatch.setattr(world.source, "head", slow)
    with pytest.raises(StoreTimeout):
        await world.found()


async def test_what_may_not_be_looked_at_is_no_delete_and_hides_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.put("a", "b")
    await world.apply()
    await world.source.delete("a")
    await world.source.delete("b")
    head = world.source.head

    async def refuse(key: str) -> ObjectMeta:
        if key == "a":
            raise PermissionDenied
        return await head(key)

    monkeypatch.setattr(world.source, "head", refuse)
    assert await world.found() == [("deleted", "b")]


@pytest.mark.parametrize("keys", [("a", "a/b", "a-b", "b"), ("b",), ()], ids=["disordered", "short", "empty"])
async def test_a_listing_deletes_nothing(world: World, monkeypatch: pytest.MonkeyPatch, keys: tuple[str, ...]) -> None:
    """In another order, or cut short: what is not in it is looked up."""
    await world.put("a", "a-b", "a/b", "b")
    await world.apply()
    metas = {key: await world.source.head(key) for key in keys}

    async def listed(prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        for meta in metas.values():
            yield meta

    monkeypatch.setattr(world.source, "list", listed)
    assert await world.found() == []
    await world.source.delete("a-b")
    metas.pop("a-b", None)
    assert await world.found() == [("deleted", "a-b")]


async def test_what_a_link_hides_is_not_deleted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file was moved elsewhere, and a link to it was left behind."""
    await world.put("a")
    await world.apply()
    await world.source.delete("a")
    monkeypatch.setattr(world.source, "head", hidden)
    assert await world.found() == []


async def hidden(key: str) -> ObjectMeta:
    raise InvalidKey("a link or device is in its place", where=key)
