"""An absence is not a delete."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from skyferry.config.settings import Settings
from skyferry.discovery.absences import guard
from skyferry.discovery.absences.approved import ApprovedDeletes
from skyferry.discovery.absences.guard import DeleteGuard, GuardedSource
from skyferry.discovery.folder.inspector import build_event
from skyferry.discovery.known_folder import KnownFolder
from skyferry.discovery.reconcile import Reconciler
from skyferry.errors import ObjectNotFound, StoreUnavailable
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.ledgers.memory.state import MemoryState
from skyferry.model import Change, Checksums, Claim, ObjectEvent, ObjectRef, Placement, Position, Provider, Receipt
from skyferry.ports import Clock, Done, HeldFilter, Settlement
from skyferry.records import Record
from skyferry.routing.routes import Routes
from skyferry.stores.local.store import LocalStore

MIRROR: dict[str, Any] = {"name": "mirror", "from": "in", "to": "out", "deletes": "propagate"}
REJECTED, HELD = HeldFilter("rejected"), HeldFilter()


class World:
    """A folder, a ledger, and what the engine would do about an event."""

    def __init__(self, folder: Path, clock: Clock, *routes: dict[str, Any]) -> None:
        self.name = "in"
        stores = {"in": {"url": "file://x/bucket"}, "out": {"url": "file://out"}, "more": {"url": "file://more"}}
        self.routes = Routes(Settings.model_validate({"stores": stores, "routes": routes or [MIRROR]}))
        self.folder, self.clock, self.state = folder, clock, MemoryState()
        self.records: list[Record] = []
        self.store = LocalStore("in", folder)
        self.start()

    def start(self) -> None:
        """A process starts; the ledger remembers what another one did."""
        self.ledger = MemoryLedger("me", self.clock, state=self.state)
        guarded = GuardedSource(self.name, Provider.FILE, "bucket", self.routes, self.ledger, self.clock, self)
        self.known = KnownFolder(self.folder, "file://bucket", self.ledger)
        self.guard = DeleteGuard(guarded, self.known)
        time = self.clock.time
        self.reconciler = Reconciler(
            self.store, Provider.FILE, "bucket", self.routes, self.ledger, time, self.guard.record_listed
        )

    def on(self, record: Record) -> None:
        self.records.append(record)

    def put(self, *keys: str) -> None:
        for key in keys:
            (self.folder / key).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / key).write_bytes(b"data")

    async def reconcile(self, *prefixes: str) -> list[str]:
        """Reconcile, as `FolderSource` does; the keys of the deletes that go on."""
        created, deleted = await self._look(prefixes or ("",))
        await self.apply(created + deleted)
        return sorted(event.source.key for event in deleted)

    async def _look(self, prefixes: Sequence[str]) -> tuple[list[ObjectEvent], list[ObjectEvent]]:
        created: list[ObjectEvent] = []
        await self.guard.begin_reconciliation(prefixes)
        async for events in self.reconciler.find_changes(prefixes):
            await self.guard.record_missing([e for e in events if e.change is Change.DELETED])
            created += await self.guard.filter_watched([e for e in events if e.change is Change.CREATED])
        return created, await self.guard.end_reconciliation()

    async def seen(self, *keys: str) -> list[str]:
        """The keys of those removals, watched at once, that go on."""
        at = Position.at(int(self.clock.time() * 1e9))
        events = [build_event(Change.DELETED, self.ref(key), "", at, None) for key in keys]
        return [event.source.key for event in await self.guard.filter_watched(events)]

    async def apply(self, events: Sequence[ObjectEvent]) -> None:
        for transfer in (t for event in events for t in self.routes.match(event)):
            [claim] = await self.ledger.claim([transfer])
            assert isinstance(claim, Claim), "it counts as settled"
            try:
                version = (await self.store.head(transfer.source.key)).version
            except ObjectNotFound:
                version = ""
            receipt = Receipt(version, "v", 4, Checksums(), Checksums(), Checksums(), None, 0.0, 0.0, 1)
            written = "" if transfer.change is Change.DELETED else "v"
            source = ObjectRef(Provider.FILE, "bucket", transfer.source.key, version=version)
            now = self.clock.time()
            placed = Placement(transfer.store, transfer.key, source, not written, (), 0.0, written, transfer.id, now)
            assert all(await self.ledger.settle([Settlement(claim, Done(receipt, placed))]))

    async def held(self, where: HeldFilter = HELD) -> list[str]:
        return sorted(held.source.key for held in (await self.ledger.list_held_deletes(where)).items)

    def said(self) -> list[tuple[str, str, int | None]]:
        found: list[tuple[str, str, int | None]] = [
            (record.event, record.reason, record.count) for record in self.records
        ]
        self.records.clear()
        return found

    def ref(self, key: str) -> ObjectRef:
        return ObjectRef(Provider.FILE, "bucket", key)


@pytest.fixture
async def world(folder: Path, clock: Clock) -> World:
    """Four objects, mirrored."""
    world = World(folder, clock)
    world.put("a", "b", "d/c", "d/e")
    assert await world.reconcile() == []
    return world


def away(folder: Path) -> Path:
    """A folder whose disk is not mounted looks empty."""
    elsewhere = folder.with_name("elsewhere")
    folder.rename(elsewhere)
    folder.mkdir()
    return elsewhere


def back(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.with_name("elsewhere").rename(folder)


async def test_one_removed_object_is_a_delete(world: World, folder: Path) -> None:
    (folder / "a").unlink()
    assert await world.reconcile() == ["a"]
    assert (await world.held(), world.said()) == ([], [])


async def test_a_folder_that_is_empty_deletes_nothing_until_it_is_back(world: World, folder: Path) -> None:
    away(folder)
    world.start()
    assert await world.reconcile() == []
    assert world.said() == [("deletes.held", "replaced", 4)]
    assert await world.reconcile() == []
    assert (await world.held(), world.said()) == (["a", "b", "d/c", "d/e"], []), "said once"
    back(folder)
    assert await world.reconcile() == []
    assert (await world.held(), world.said()) == ([], [("deletes.back", "", 4)])
    (folder / "b").unlink()
    assert await world.reconcile() == ["b"], "all is as before"


async def test_a_folder_that_was_emptied_deletes_nothing(world: World, folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).unlink()
    shutil.rmtree(folder / "d")
    assert await world.reconcile() == []
    assert world.said() == [("deletes.held", "empty", 4)]


async def test_half_of_a_small_mirror_is_held_and_new_objects_go_on(world: World, folder: Path) -> None:
    shutil.rmtree(folder / "d")
    world.put("new")
    assert await world.reconcile() == []
    assert world.said() == [("deletes.held", "limit", 2)]
    copy = (await world.ledger.get_placements("out", ["new"]))[0]
    assert copy is not None


async def test_another_folder_in_its_place_deletes_nothing_but_is_copied(world: World, folder: Path) -> None:
    away(folder)
    world.put("a", "other")
    assert await world.reconcile() == []
    assert world.said() == [("deletes.held", "replaced", 3)]
    assert not await world.known.is_same(), "a few objects are no evidence"


async def test_a_copy_of_the_folder_takes_its_place(world: World, folder: Path) -> None:
    """Its missing objects are held once; then it is a source as any other."""
    elsewhere = away(folder)
    for name in ("b", "d"):
        (elsewhere / name).rename(folder / name)
    assert await world.reconcile() == []
    assert await world.held() == ["a"]
    assert await world.known.is_same()
    (folder / "b").unlink()
    world.start()
    assert await world.reconcile() == ["b"]


async def test_without_a_limit_another_folder_still_deletes_nothing(folder: Path, clock: Clock) -> None:
    world = World(folder, clock, MIRROR | {"max_deletes": "none"})
    world.put("a", "b", "c")
    await world.reconcile()
    (folder / "a").unlink()
    (folder / "b").unlink()
    assert await world.reconcile() == ["a", "b"]
    away(folder)
    assert await world.reconcile() == []


async def test_a_folder_that_is_replaced_while_it_is_listed_deletes_nothing(
    world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a").unlink()
    missed = world.guard.record_missing

    async def late(events: Iterable[ObjectEvent]) -> None:
        await missed(events)
        if not folder.with_name("elsewhere").exists():
            away(folder)

    monkeypatch.setattr(world.guard, "record_missing", late)
    with pytest.raises(StoreUnavailable):
        await world.reconcile()
    assert await world.held() == []


async def test_a_folder_removed_while_it_is_watched_is_deleted(world: World, folder: Path) -> None:
    world.put("f")
    await world.reconcile()
    shutil.rmtree(folder / "d")
    assert await world.reconcile("d/") == ["d/c", "d/e"]


async def test_everything_removed_while_it_is_watched_is_held(world: World) -> None:
    assert await world.seen("a", "b", "d/c", "d/e", "never copied") == ["never copied"]
    assert world.said() == [("deletes.held", "empty", 4)]


async def test_one_after_the_other_counts_together_for_a_while(folder: Path, clock: Clock) -> None:
    world = World(folder, clock)
    world.put(*(f"{n:02}" for n in range(40)))
    await world.reconcile()
    for n in range(10):
        assert await world.seen(f"{n:02}") == [f"{n:02}"]
    assert await world.seen("10") == []
    assert world.said() == [("deletes.held", "limit", 1)]


async def test_what_was_removed_and_sent_is_not_missed_again(world: World, folder: Path) -> None:
    (folder / "a").unlink()
    assert await world.seen("a") == ["a"]
    assert await world.reconcile() == []
    assert await world.held() == []


async def test_removals_seen_in_a_folder_that_is_another_are_held(world: World, folder: Path) -> None:
    away(folder)
    assert await world.seen("a") == []
    assert world.said() == [("deletes.held", "replaced", 1)]


async def test_approved_deletes_are_sent_once_and_the_folder_is_the_source_from_then_on(
    world: World, folder: Path, clock: Clock
) -> None:
    away(folder)
    await world.reconcile()
    sent: list[ObjectEvent] = []

    async def send(events: list[ObjectEvent]) -> None:
        sent.extend(events)

    approved = ApprovedDeletes(world.ledger, send, clock, world)
    assert await world.ledger.approve_deletes(HELD) == 4
    assert not approved.idle
    assert [await approved.send_all(), await approved.send_all()] == [4, 0]
    assert sorted((e.change, e.source.key) for e in sent) == [("deleted", k) for k in ("a", "b", "d/c", "d/e")]
    assert world.said()[-1] == ("deletes.approved", "", 4)
    assert await world.known.is_same()
    await world.apply(sent)


async def test_what_comes_back_as_it_was_after_its_delete_is_a_new_event(
    world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is mounted again, or a folder that is moved back, changes no file."""
    monkeypatch.setattr(guard, "FRESH", 0.0)
    elsewhere = folder.with_name("elsewhere")
    (folder / "d").rename(elsewhere)
    await world.apply(
        await world.guard.filter_watched([build_event(Change.DELETED, world.ref("d/c"), "", Position.at(1), None)])
    )
    elsewhere.rename(folder / "d")
    created, deleted = await world._look([""])
    assert ([e.source.key for e in created], deleted) == (["d/c"], [])
    again, _ = await world._look([""])
    assert again == created, "noticed twice it is one event"
    await world.apply(created)
    [copy] = await world.ledger.get_placements("out", ["d/c"])
    assert copy is not None
    assert not copy.deleted


async def test_rejected_deletes_do_not_come_back_until_the_object_was_there_again(world: World, folder: Path) -> None:
    away(folder)
    await world.reconcile()
    assert await world.ledger.reject_deletes(HELD) == 4
    world.put("new")
    world.start()
    assert await world.reconcile() == []
    assert (await world.held(), len(await world.held(REJECTED))) == ([], 4)
    world.put("a", "b", "d/c")
    assert await world.reconcile() == []
    assert await world.held(REJECTED) == ["d/e"]
    (folder / "a").unlink()
    assert await world.reconcile() == ["a"]


async def test_held_deletes_without_a_copy_are_forgotten(world: World, folder: Path) -> None:
    shutil.rmtree(folder / "d")
    await world.reconcile()
    at = Position.at(int(world.clock.time() * 1e9))
    await world.apply([build_event(Change.DELETED, world.ref("d/c"), "", at, None)])
    assert await world.reconcile() == []
    assert await world.held() == ["d/e"]


@pytest.mark.parametrize(("share", "deleted"), [("60%", 12), ("50%", 0)])
async def test_more_than_memory_takes_are_held_until_the_look_is_over(
    folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, share: str, deleted: int
) -> None:
    monkeypatch.setattr(guard, "MOST", 5)
    monkeypatch.setattr("skyferry.discovery.reconcile.PAGE", 3)
    world = World(folder, clock, MIRROR | {"max_deletes": share})
    keys = [f"{n:02}" for n in range(20)]
    world.put(*keys)
    await world.reconcile()
    for key in keys[:12]:
        (folder / key).unlink()
    sent = len(await world.reconcile())
    approved = len(await world.held(HeldFilter("approved")))
    assert (sent + approved, len(await world.held())) == (deleted, 12 - deleted)
    assert world.said() == ([] if deleted else [("deletes.held", "limit", 12)])


async def test_each_route_has_its_limit(folder: Path, clock: Clock) -> None:
    more = {"name": "more", "from": "in", "to": "more", "deletes": "propagate", "filter": {"prefix": "x"}}
    world = World(folder, clock, MIRROR, more)
    world.put(*(f"a{n}" for n in range(20)), "x1", "x2")
    await world.reconcile()
    for name in ("a1", "a2", "x1", "x2"):
        (folder / name).unlink()
    assert await world.reconcile() == ["a1", "a2"]
    [held, _] = (await world.ledger.list_held_deletes(HELD)).items
    assert held.routes == ("mirror", "more")


async def test_known_objects_are_counted_once_for_a_while_but_again_before_a_delete_is_held(
    world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = 0
    placed = world.ledger.list_placements

    def counted(*arguments: str) -> object:
        nonlocal scans
        scans += 1
        return placed(*arguments)

    monkeypatch.setattr(world.ledger, "list_placements", counted)
    assert [await world.seen("a"), await world.seen("b"), scans] == [["a"], ["b"], 1]
    new = [f"new{n}" for n in range(8)]
    world.put(*new)
    await world.reconcile()
    scans = 0
    assert (await world.seen(*new[:6]), scans) == (new[:6], 1)


async def test_what_lies_below_a_disk_that_is_not_mounted_is_held_whatever_the_limit(
    folder: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(f"36 35 98:0 / {folder}/d rw - ext4 /dev/x rw\n")
    monkeypatch.setattr("skyferry.discovery.absences.identity.MOUNTS", str(table))
    world = World(folder, clock, MIRROR | {"max_deletes": "none"})
    world.put("a", "b", "d/c", "d/e")
    await world.reconcile()
    table.write_text("")
    for name in ("a", "d/c", "d/e"):
        (folder / name).unlink()
    assert await world.seen("d/e") == []
    assert await world.reconcile() == ["a"]
    assert await world.held() == ["d/c", "d/e"]
    assert {reason for _, reason, _ in world.said()} == {"replaced"}
