"""Links, FIFOs, sockets and devices in a folder are no objects: each is reported once and counted, or the listing fails."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from skyferry.config.settings import Settings
from skyferry.discovery.folder.inspector import ADDED, DELETED, PathInspector, SpecialFile, WatchedFolder
from skyferry.errors import Unsupported
from skyferry.observe import MetricsObserver
from skyferry.ports import ObjectStore
from skyferry.records import Record
from skyferry.testing.clock import ManualClock
from skyferry.wiring.opener import Opener
from skyferry.wiring.reports import KNOWN, SpecialReports


class Ear:
    """Remembers what was reported."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def on(self, record: Record) -> None:
        """See `Observer`."""
        self.records.append(record)

    def told(self) -> list[tuple[str, str, str]]:
        return sorted((r.store, r.key, r.reason) for r in self.records if r.event == "store.special_file")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file, and one of each kind beside it and below."""
    folder = tmp_path / "bucket"
    (folder / "d").mkdir(parents=True)
    (folder / "a").write_bytes(b"x")
    (folder / "z").write_bytes(b"x")
    (folder / "d" / "link").symlink_to(folder / "a")
    (folder / "folder").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    monkeypatch.chdir(folder)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("sock")
    return folder


FOUND = [("s", "d/link", "symlink"), ("s", "folder", "symlink"), ("s", "pipe", "fifo"), ("s", "sock", "socket")]

KINDS = ("symlink", "fifo", "socket", "device")


def opened(folder: Path, reports: SpecialReports, policy: str = "skip") -> ObjectStore:
    """The store of a configuration."""
    stores = {"s": {"url": f"file://{folder}", "special_files": policy}}
    settings = Settings.model_validate({"workspace": folder.parent, "stores": stores})
    return Opener(settings, ManualClock(), on_special=reports.found).store("s")


async def test_each_is_reported_once_and_counted(folder: Path) -> None:
    """However often it is listed, by the kind."""
    ear = Ear()
    store = opened(folder, SpecialReports(ear))
    for _ in range(2):
        assert [meta.key async for meta in store.list()] == ["a", "z"]
    assert ear.told() == FOUND
    registry = CollectorRegistry()
    observer = MetricsObserver(registry)
    for record in ear.records:
        observer.on(record)
    counted = {
        kind: registry.get_sample_value("skyferry_special_files_total", {"store": "s", "kind": kind}) for kind in KINDS
    }
    assert counted == {"symlink": 2, "fifo": 1, "socket": 1, "device": None}
    await store.close()


async def test_a_listing_reports_what_it_would_list(folder: Path) -> None:
    """Below the prefix, behind `after`."""
    ear = Ear()
    store = opened(folder, SpecialReports(ear))
    _ = [meta async for meta in store.list("d/")]
    _ = [meta async for meta in store.list("", "pip")]
    assert ear.told() == [FOUND[0], *FOUND[2:]]
    await store.close()


async def test_a_listing_fails_where_the_setting_says_so(folder: Path) -> None:
    """With the path and the setting, and before it gives an object of that page."""
    store = opened(folder, SpecialReports(Ear()), "fail")
    with pytest.raises(Unsupported, match=r"is a \w+, and special_files is fail"):
        _ = [meta async for meta in store.list()]
    for name in ("d/link", "folder", "pipe", "sock"):
        (folder / name).unlink()
    assert [meta.key async for meta in store.list()] == ["a", "z"]
    await store.close()


async def test_a_file_that_a_link_replaces_is_reported_by_the_watcher_and_is_no_delete(folder: Path) -> None:
    """The watcher and the listing share what was reported."""
    ear = Ear()
    reports = SpecialReports(ear)
    inspector = PathInspector(WatchedFolder(folder, "s", "bucket", str, str), lambda: 1e9, 0.0)
    inspector.scan_folders()
    (folder / "z").unlink()
    (folder / "z").symlink_to("a")
    (sight,) = inspector.inspect_changes({str(folder / "z"): {ADDED, DELETED}})
    assert isinstance(sight, SpecialFile)
    reports.seen("s", sight.path, sight.mode)
    store = opened(folder, reports)
    assert [meta.key async for meta in store.list()] == ["a"]
    assert ear.told() == [*FOUND, ("s", "z", "symlink")]
    await store.close()


def test_what_is_remembered_is_bounded() -> None:
    ear = Ear()
    reports = SpecialReports(ear)
    for number in range(KNOWN + 10):
        reports.found("s", f"{number}", "fifo")
    assert len(ear.records) == KNOWN
