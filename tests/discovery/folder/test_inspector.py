"""The present state of changed paths."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest

from skyferry.discovery.folder import inspector as inspecting
from skyferry.discovery.folder.inspector import (
    ADDED,
    DELETED,
    MODIFIED,
    DeletedFolder,
    PathChange,
    PathInspector,
    SpecialFile,
    UnfinishedPath,
    UnreadablePath,
    WatchedFolder,
)
from skyferry.discovery.folder.wholeness import Wholeness
from skyferry.events import native
from skyferry.model import Change, ObjectEvent, ObjectRef, Position, Provider
from skyferry.stores.local.blocking.links import is_followed
from skyferry.stores.local.names import key_of, path_of

NOW = 2_000_000_000.0


@pytest.fixture
def inspector(watched: WatchedFolder) -> PathInspector:
    inspector = PathInspector(watched, lambda: NOW, settle=0.5)
    inspector.scan_folders()
    return inspector


@pytest.fixture
def blind(inspector: PathInspector, monkeypatch: pytest.MonkeyPatch) -> PathInspector:
    """An inspector on a filesystem without reliable leases."""
    monkeypatch.setattr(inspecting, "check_wholeness", lambda path: Wholeness.UNKNOWN)
    return inspector


def put(file: Path, data: bytes = b"data") -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return str(file)


def shown(sights: Iterable[PathChange]) -> list[tuple[str, str]]:
    """(what, key or path)"""
    return [
        (s.change.value, s.source.key)
        if isinstance(s, ObjectEvent)
        else (type(s).__name__, s.prefix if isinstance(s, DeletedFolder) else os.path.basename(s.path))
        for s in sights
    ]


def test_a_file_is_a_created_event_that_describes_it(inspector: PathInspector, folder: Path) -> None:
    path = put(folder / "a" / "%" / "b c")
    [event] = inspector.inspect_changes({path: {MODIFIED}})
    assert isinstance(event, ObjectEvent)
    info = os.stat(path)
    assert event.source == ObjectRef(Provider.FILE, "bucket", "a//b c")
    assert (event.change, event.size, event.position) == (Change.CREATED, 4, Position.at(info.st_ctime_ns))
    assert event.occurred_at == pytest.approx(info.st_ctime)


def test_the_same_state_has_the_same_id_and_another_state_another(inspector: PathInspector, folder: Path) -> None:
    path = put(folder / "f")
    [one], [two] = inspector.inspect_changes({path: {ADDED}}), inspector.inspect_changes({path: {MODIFIED}})
    os.rename(path, folder / "g")
    os.rename(folder / "g", path)
    [back] = inspector.inspect_changes({path: {ADDED}})
    assert isinstance(one, ObjectEvent)
    assert isinstance(back, ObjectEvent)
    assert one == two
    assert back.event_id != one.event_id, (
        "moved away and back it is an event of its own, or its copy would stay deleted"
    )


def test_a_missing_file_is_a_delete_at_the_time_of_the_look(inspector: PathInspector, folder: Path) -> None:
    [event] = inspector.inspect_changes({str(folder / "gone"): {ADDED, DELETED}})
    assert isinstance(event, ObjectEvent)
    assert (event.change, event.occurred_at, event.size) == (Change.DELETED, NOW, None)


def test_a_file_that_is_being_written_is_unfinished_until_it_is_closed(inspector: PathInspector, folder: Path) -> None:
    path = put(folder / "f")
    with open(path, "ab"):
        [unfinished] = inspector.inspect_changes({path: {MODIFIED}})
        assert isinstance(unfinished, UnfinishedPath)
        assert shown(inspector.inspect_again([unfinished])) == [("UnfinishedPath", "f")]
    assert shown(inspector.inspect_again([unfinished])) == [("created", "f")]


def test_without_reliable_leases_a_file_is_whole_once_it_is_quiet(
    blind: PathInspector, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, now = put(folder / "f"), NOW
    monkeypatch.setattr(blind, "_now", lambda: now)
    os.utime(path, (NOW, NOW - 0.4))
    [unfinished] = blind.inspect_changes({path: {ADDED}})
    assert isinstance(unfinished, UnfinishedPath)
    now = NOW + 0.2
    assert shown(blind.inspect_again([unfinished])) == [("created", "f")]
    os.utime(path, (NOW, NOW + 100))  # a timestamp in the future: what counts is that it does not change
    now = NOW + 1
    [unfinished] = blind.inspect_again([unfinished])
    assert isinstance(unfinished, UnfinishedPath)
    now = NOW + 1.4
    [unfinished] = blind.inspect_again([unfinished])
    assert isinstance(unfinished, UnfinishedPath)
    now = NOW + 1.6
    assert shown(blind.inspect_again([unfinished])) == [("created", "f")]


def test_a_file_is_whole_soon_though_the_clock_is_set_back(
    blind: PathInspector, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, now = put(folder / "f"), NOW
    os.utime(path, (NOW, NOW))
    monkeypatch.setattr(blind, "_now", lambda: now)
    [unfinished] = blind.inspect_changes({path: {ADDED}})
    assert isinstance(unfinished, UnfinishedPath)
    now = NOW - 3600
    [unfinished] = blind.inspect_again([unfinished])
    assert isinstance(unfinished, UnfinishedPath)
    now += 0.6
    assert shown(blind.inspect_again([unfinished])) == [("created", "f")]


def test_a_new_folder_is_searched_and_looked_at_again(inspector: PathInspector, folder: Path) -> None:
    put(folder / "new" / "deep" / "f")
    put(folder / "new" / "g")
    changes = {str(folder / "new"): {ADDED}, str(folder / "new" / "deep"): {ADDED}, str(folder / "new" / "g"): {ADDED}}
    sights = list(inspector.inspect_changes(changes))
    assert sorted(shown(sights)) == [("UnfinishedPath", "new"), ("created", "new/deep/f"), ("created", "new/g")]
    late = put(folder / "new" / "deep" / "late")
    os.utime(late)
    again = [s for s in sights if isinstance(s, UnfinishedPath)]
    assert ("created", "new/deep/late") in shown(inspector.inspect_again(again)) or os.stat(late).st_ctime < NOW


def test_a_second_inspection_of_a_folder_reports_only_newer_files(inspector: PathInspector, folder: Path) -> None:
    old = put(folder / "new" / "old")
    since = os.stat(old).st_ctime_ns + 1
    put(folder / "new" / "f")
    while os.stat(folder / "new" / "f").st_ctime_ns < since:
        os.utime(folder / "new" / "f")
    assert shown(inspector.inspect_again([UnfinishedPath(str(folder / "new"), since=since)])) == [("created", "new/f")]


def test_a_known_folder_is_not_searched_because_its_own_attributes_changed(
    inspector: PathInspector, folder: Path
) -> None:
    put(folder / "d" / "f")
    inspector.scan_folders()
    assert list(inspector.inspect_changes({str(folder / "d"): {MODIFIED}})) == []


def test_a_folder_that_was_moved_out_is_named_by_its_prefix_and_forgotten(
    inspector: PathInspector, folder: Path
) -> None:
    put(folder / "d" / "e" / "f")
    inspector.scan_folders()
    shutil.rmtree(folder / "d")
    both = {str(folder / "d"): {DELETED}, str(folder / "d" / "e"): {DELETED}, str(folder / "d" / "e" / "f"): {DELETED}}
    assert sorted(shown(inspector.inspect_changes(both))) == [("DeletedFolder", "d/"), ("deleted", "d/e/f")]
    assert shown(inspector.inspect_changes({str(folder / "d"): {DELETED}})) == [("deleted", "d")]


def test_a_folder_that_was_replaced_is_both_gone_and_searched(inspector: PathInspector, folder: Path) -> None:
    put(folder / "d" / "old")
    inspector.scan_folders()
    shutil.rmtree(folder / "d")
    put(folder / "d" / "new")
    sights = shown(inspector.inspect_changes({str(folder / "d"): {ADDED, DELETED}}))
    assert sorted(sights) == [("DeletedFolder", "d/"), ("UnfinishedPath", "d"), ("created", "d/new")]


def test_a_file_that_became_a_folder_is_deleted_and_one_that_became_a_link_is_not(
    inspector: PathInspector, folder: Path
) -> None:
    put(folder / "f" / "new")
    (folder / "g").symlink_to(folder / "f")
    kinds = {str(folder / "f"): {ADDED, DELETED}, str(folder / "g"): {ADDED}}
    assert shown(inspector.inspect_changes(kinds)) == [
        ("deleted", "f"),
        ("created", "f/new"),
        ("UnfinishedPath", "f"),
        ("SpecialFile", "g"),
    ]


def test_an_unreadable_folder_is_reported_and_hides_no_other(
    inspector: PathInspector, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it is looked at once more."""
    put(folder / "d" / "a" / "x")
    put(folder / "d" / "z" / "y")
    scan = os.scandir

    def refuse(path: str) -> object:
        if os.path.basename(path) == "a":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    seen = [("UnreadablePath", "a"), ("created", "d/z/y")]
    assert sorted(shown(inspector.inspect_changes({str(folder / "d"): {ADDED}}))) == sorted(
        [*seen, ("UnfinishedPath", "d")]
    )
    assert sorted(shown(inspector.inspect_again([UnfinishedPath(str(folder / "d"))]))) == seen


def test_a_file_that_vanishes_while_its_folder_is_searched_hides_no_other(
    inspector: PathInspector, folder: Path
) -> None:
    """Files that were moved in with a folder are found only by the search."""
    for name in "abc":
        put(folder / "d" / name)
    order = [entry.name for entry in os.scandir(folder / "d")]
    sights = inspector.inspect_changes({str(folder / "d"): {ADDED}})
    assert shown([next(sights)]) == [("created", f"d/{order[0]}")]
    os.unlink(folder / "d" / order[1])
    assert ("created", f"d/{order[2]}") in shown(sights)


def test_the_private_folder_and_the_root_are_no_objects(inspector: PathInspector, folder: Path) -> None:
    own = put(folder / ".skyferry" / "tmp" / "x")
    assert (
        list(inspector.inspect_changes({own: {ADDED}, str(folder): {MODIFIED}, str(folder / ".skyferry"): {ADDED}}))
        == []
    )
    assert shown(inspector.inspect_changes({put(folder / ".skyferry-not"): {ADDED}})) == [("created", ".skyferry-not")]


def test_links_and_what_is_behind_them_are_no_objects(inspector: PathInspector, folder: Path, tmp_path: Path) -> None:
    put(tmp_path / "outside" / "secret")
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "file").symlink_to(tmp_path / "outside" / "secret")
    os.mkfifo(folder / "pipe")
    paths = ("link", "file", "pipe", "link/secret")
    sights = shown(inspector.inspect_changes({str(folder / p): {ADDED} for p in paths}))
    assert sorted(sights) == [("SpecialFile", "file"), ("SpecialFile", "link"), ("SpecialFile", "pipe")]


def test_a_name_that_cannot_be_a_key_is_reported(inspector: PathInspector, folder: Path) -> None:
    long = put(folder / "/".join(["x" * 250] * 5))
    [sight] = inspector.inspect_changes({long: {ADDED}})
    assert isinstance(sight, UnreadablePath)
    assert "1024 bytes" in sight.message
    os.unlink(long)
    assert list(inspector.inspect_changes({long: {DELETED}})) == []


def test_events_of_a_listing_are_let_in_only_when_the_file_is_whole(inspector: PathInspector, folder: Path) -> None:
    path = put(folder / "a" / "%")
    created = ObjectEvent("e", Change.CREATED, ObjectRef(Provider.FILE, "bucket", "a/"), 0.0)
    deleted = ObjectEvent("e", Change.DELETED, ObjectRef(Provider.FILE, "bucket", "c"), 0.0)
    with open(path, "ab"):
        assert shown(inspector.inspect_listed([created, deleted])) == [("UnfinishedPath", "%"), ("deleted", "c")]
    assert shown(inspector.inspect_listed([created])) == [("created", "a/")]


def test_an_event_survives_the_queue(inspector: PathInspector, folder: Path) -> None:
    for event in inspector.inspect_changes({put(folder / "a b"): {ADDED}, str(folder / "gone"): {DELETED}}):
        assert isinstance(event, ObjectEvent)
        read = native.parse_event(native.encode_event(event))
        assert (read.event_id, read.change, read.source, read.size) == (
            event.event_id,
            event.change,
            event.source,
            event.size,
        )
        assert read.occurred_at == pytest.approx(event.occurred_at)


@pytest.mark.parametrize(
    ("leads", "follow", "expected"),
    [
        ("file", True, "created link"),
        ("file", False, "link is no object"),
        ("d", True, "link is no object"),
        (".", True, "link is no object"),
        ("gone", True, "link is no object"),
        ("../outside", True, "link is no object"),
        ("round/inner", True, "link is no object"),
    ],
)
def test_a_link_is_an_object_where_it_leads_to_a_file_that_is_followed(
    tmp_path: Path, leads: str, follow: bool, expected: str
) -> None:
    """To a folder, to the folder that it is in, nowhere, outside, or by a folder that is a link: it is reported."""
    folder = tmp_path / "s"
    (folder / "d").mkdir(parents=True)
    for path in (folder / "file", folder / "d" / "inner", tmp_path / "outside"):
        path.write_text("x")
    (folder / "round").symlink_to("d")
    watched = WatchedFolder(
        folder, "s", "s", key_of, path_of, follows=partial(is_followed, folder) if follow else no_link
    )
    inspector = PathInspector(watched, time.time, 0.0)
    inspector.scan_folders()
    (folder / "link").symlink_to(leads)
    sights = list(inspector.inspect_changes({str(folder / "link"): {ADDED}}))
    events = [f"{each.change} {each.source.key}" for each in sights if isinstance(each, ObjectEvent)]
    assert [*events, *(f"{each.path} is no object" for each in sights if isinstance(each, SpecialFile))] == [expected]


def no_link(path: str) -> bool:
    return False
