"""A local destination that the ledger knows is never made anew: while it is missing, or another folder is there, work waits."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from skyferry.clock import SystemClock
from skyferry.config.settings import Settings
from skyferry.engine import queue_health
from skyferry.engine.service import Service
from skyferry.errors import ConfigError, FolderMissing
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.model import Placement
from skyferry.ports import Filter
from skyferry.records import Record
from skyferry.wiring import build_service, destinations
from skyferry.wiring.identities import identify_stores

PATIENCE = 20.0  # seconds


class Ear:
    """Remembers records."""

    def __init__(self) -> None:
        self.heard: list[Record] = []

    def on(self, record: Record) -> None:
        """See `Observer`."""
        self.heard.append(record)

    def changes(self) -> list[Record]:
        """Of what waits for an operator."""
        return [r for r in self.heard if r.event == "check.changed" and r.operation == "folder_missing"]


class Unlisted(MemoryLedger):
    """A ledger so large that a start must not read its placements."""

    def list_placements(self, store: str, source: str, after: str = "") -> AsyncIterator[Placement]:
        raise AssertionError(f"placements of {source} in {store} are read")


class Disk:
    """A configuration whose destination is a folder that can be away."""

    def __init__(self, folder: Path, destination: str = "file://destination") -> None:
        self.folder, self.source, self.destination = folder, folder / "source", folder / "destination"
        self.source.mkdir()
        self.given: dict[str, Any] = {
            "workspace": folder,
            "stores": {"src": {"url": "file://source"}, "dst": {"url": destination}},
            "routes": [{"name": "r", "from": "src", "to": "dst"}],
            "queues": [{"name": "main", "url": "sqlite://main.db"}],
            "breaker": {"cooldown": 0.1, "max_cooldown": 0.1},
            "retry": {"max_delay": 0.1, "request_tries": 1},
        }
        self.settings = Settings.model_validate(self.given)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[Service, Ear]]:
        """A service, as `run` starts it."""
        ear = Ear()
        async with build_service(self.settings, ear, create=True) as service:
            running = asyncio.create_task(service.run())
            try:
                async with asyncio.timeout(PATIENCE):
                    yield service, ear
            finally:
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await running

    async def copied(self, name: str) -> None:
        """Drop a file, and wait until the ledger has its copy."""
        (self.source / name).write_text(name)
        async with self.running() as (_, ear):
            await until(lambda: any(r.event == "transfer.done" and r.key == name for r in ear.heard))

    def unmount(self) -> Path:
        """Take the folder away, with what is in it; where it is."""
        away = self.folder / "away"
        shutil.move(self.destination, away)
        return away

    def mount(self, away: Path) -> None:
        """Put it back over what is there."""
        shutil.rmtree(self.destination, ignore_errors=True)
        shutil.move(away, self.destination)


async def until(reached: Callable[[], bool]) -> None:
    while not reached():
        await asyncio.sleep(0.01)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    monkeypatch.setattr(destinations, "EVERY", 0.05)
    return Disk(tmp_path)


async def test_a_first_start_makes_the_folder(disk: Disk) -> None:
    """And one that was not filled, too, may be made again."""
    async with disk.running():
        assert disk.destination.is_dir()
    await disk.copied("a")


async def test_a_start_reads_no_placements_while_the_folder_is_there(disk: Disk) -> None:
    """Those of other sources could be millions, and the start would wait for them."""
    disk.destination.mkdir()
    async with build_service(disk.settings, Ear(), ledger=Unlisted("one", SystemClock()), create=True) as service:
        assert await service.ledger.get_identity(f"folder {identify_stores(disk.settings)['dst']}")


@pytest.mark.parametrize("empty", [False, True], ids=["missing", "an empty mount point"])
async def test_work_waits_for_a_folder_that_is_not_what_it_was(disk: Disk, empty: bool) -> None:
    """Nothing is written below the mount point; /ready, and one line of the log, say what to do; mounted, all is copied."""
    await disk.copied("a")
    away = disk.unmount()
    if empty:
        disk.destination.mkdir()
    (disk.source / "b").write_text("b")
    async with disk.running() as (service, ear):
        await until(lambda: any(r.event == "transfer.retry" and r.error == "folder_missing" for r in ear.heard))
        await until(lambda: bool(ear.changes()))
        (check,) = [c for c in (await service.ready()).checks if c.name == "folder_missing"]
        assert (check.state, (await service.ready()).ready) == ("degraded", True)
        assert "mount its disk; or let this folder take its place: mkdir -p" in check.message
        assert list(disk.destination.glob("*")) == []
        assert disk.destination.exists() is empty
        disk.mount(away)
        await until(lambda: (disk.destination / "b").exists())
        assert not (await service.ledger.list_dead_letters(Filter())).items
        await until(lambda: [r.reason for r in ear.changes()] == ["degraded", "ok"])
    assert sorted(path.name for path in disk.destination.glob("[!.]*")) == ["a", "b"]


async def test_a_folder_that_goes_away_while_it_runs_is_not_filled_below_its_mount_point(disk: Disk) -> None:
    await disk.copied("a")
    async with disk.running() as (_, ear):
        away = disk.unmount()
        disk.destination.mkdir()
        (disk.source / "b").write_text("b")
        await until(lambda: any(r.event == "transfer.retry" and r.error == "folder_missing" for r in ear.heard))
        assert list(disk.destination.glob("*")) == []
        disk.mount(away)
        await until(lambda: (disk.destination / "b").exists())


async def test_another_folder_takes_its_place_as_the_hint_says(disk: Disk) -> None:
    await disk.copied("a")
    disk.unmount()
    (disk.source / "b").write_text("b")
    async with disk.running() as (_, ear):
        await until(lambda: bool(ear.changes()))
        command = ear.changes()[0].message.partition("take its place: ")[2].removesuffix(")")
        process = await asyncio.create_subprocess_shell(command)
        assert await process.wait() == 0
        await until(lambda: (disk.destination / "b").exists())


async def test_a_folder_that_lost_its_marker_is_known_by_its_place(disk: Disk) -> None:
    """Somebody has cleaned up."""
    await disk.copied("a")
    shutil.rmtree(disk.destination / ".skyferry")
    await disk.copied("b")


async def test_a_ledger_that_knows_no_marker_yet_knows_by_its_copies(disk: Disk) -> None:
    """One of an earlier version."""
    await disk.copied("a")
    away = disk.unmount()
    async with build_service(disk.settings, Ear()) as service:
        await service.ledger.set_identity(f"folder file {disk.destination.name}", "")
    async with disk.running() as (_, ear):
        await until(lambda: bool(ear.changes()))
        assert not disk.destination.exists()
        disk.mount(away)
        await until(lambda: ear.changes()[-1].reason == "ok")


async def test_a_folder_outside_the_workspace_that_nothing_is_known_of_must_be_there(tmp_path: Path) -> None:
    disk = Disk(tmp_path, f"file://{tmp_path}/nowhere")
    with pytest.raises(ConfigError, match="does not exist"):
        async with disk.running():
            pass
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("empty", [False, True], ids=["missing", "an empty mount point"])
async def test_a_run_until_idle_ends_without_its_folder(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, empty: bool
) -> None:
    """Work would wait for ever. It stays in the queue, and is done once the folder is back."""
    monkeypatch.setattr(queue_health, "UNREACHABLE", 1.0)
    await disk.copied("a")
    away = disk.unmount()
    if empty:
        disk.destination.mkdir()
    (disk.source / "b").write_text("b")
    async with build_service(disk.settings, Ear(), create=True) as service, asyncio.timeout(60):
        with pytest.raises(ExceptionGroup) as ended:
            await service.run(until_idle=True)
    assert ended.group_contains(FolderMissing, match="away for 1 s, and work waits for it: dst: .*mount its disk")
    disk.mount(away)
    async with build_service(disk.settings, Ear(), create=True) as service, asyncio.timeout(60):
        await service.run(until_idle=True)
    assert (disk.destination / "b").exists()


async def test_a_run_until_idle_without_work_for_a_missing_folder_ends_well(disk: Disk) -> None:
    """As before."""
    await disk.copied("a")
    disk.unmount()
    async with build_service(disk.settings, Ear(), create=True) as service, asyncio.timeout(60):
        await service.run(until_idle=True)


async def test_a_run_until_idle_first_does_what_does_not_wait_for_the_folder(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as an object that is too young for its route: nothing is in flight meanwhile."""
    monkeypatch.setattr(queue_health, "UNREACHABLE", 1.0)
    await disk.copied("a")
    disk.unmount()
    (other := disk.folder / "other").mkdir()
    disk.given["stores"]["other"] = {"url": "file://other"}
    disk.given["routes"].append({"name": "later", "from": "src", "to": "other", "filter": {"min_age": 4}})
    (disk.source / "b").write_text("b")
    async with build_service(Settings.model_validate(disk.given), Ear(), create=True) as service, asyncio.timeout(60):
        with pytest.raises(ExceptionGroup) as ended:
            await service.run(until_idle=True)
    assert ended.group_contains(FolderMissing, match="away for 1 s")
    assert (other / "b").exists()
