"""Listings of folders: order and memory, with names that keys spell otherwise."""

from __future__ import annotations

import sys
import tracemalloc
from collections import Counter
from copy import copy, deepcopy
from dataclasses import replace
from pathlib import Path
from pickle import dumps, loads
from types import FrameType

import pytest

from skyferry import frozen
from skyferry.errors import StoreUnavailable
from skyferry.model import NO_ATTRIBUTES, ObjectMeta
from skyferry.stores.local import metadata
from skyferry.stores.local import store as local
from skyferry.stores.local.blocking import listing
from skyferry.stores.local.blocking.listing import SortedTexts
from skyferry.stores.local.names import path_of
from skyferry.stores.local.store import LocalStore

KEYS = sorted(
    [
        *(f"{n * 7919 % 100:02}.bin" for n in range(100)),
        *(f"a/{n * 31 % 40:02}" for n in range(40)),
        *("a//x", "a/.", "b/", "b/c", "a-b", "a0", ".hidden", "%25", "ä", "日本/ü", "𝄞", "x/.git/config"),
        *(f"{n % 5}-folder/{n}" for n in range(20)),
    ]
)


async def list_keys(store: LocalStore, prefix: str = "", after: str = "") -> list[str]:
    return [meta.key async for meta in store.list(prefix, after)]


@pytest.mark.parametrize("run", [3, 64, listing.RUN])
async def test_a_directory_is_listed_in_the_order_of_keys_however_it_is_sorted(
    run: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "RUN", run)
    monkeypatch.setattr(listing, "JOINED", 2)
    for key in KEYS:
        file = tmp_path / path_of(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    store = LocalStore("folder", tmp_path)
    try:
        assert await list_keys(store) == KEYS
        for prefix in ("a", "a/", "a//", "a/3", "5", "x/.git/", "%", "日"):
            wanted = [key for key in KEYS if key.startswith(prefix)]
            assert await list_keys(store, prefix) == wanted
            for after in (wanted[0], wanted[-1], "a", "a/", "a/2"):
                assert await list_keys(store, prefix, after) == [key for key in wanted if key > after]
    finally:
        await store.close()


async def test_a_listed_file_is_described_as_a_look_at_it_does(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    store = LocalStore("folder", tmp_path)
    try:
        (listed,), looked = [meta async for meta in store.list()], await store.head("a")
        again = [meta async for meta in store.list()]
    finally:
        await store.close()
    assert listed == replace(looked, attributes=NO_ATTRIBUTES) == listed
    assert [listed] == again
    assert hash(listed.position) == hash(looked.position)
    for change in (replace, frozen.replace):
        changed = change(listed, size=7)
        assert (type(changed), changed.size, changed.version) == (ObjectMeta, 7, looked.version)
    for made in (copy(listed), deepcopy(listed), loads(dumps(listed))):
        assert (type(made), made) == (ObjectMeta, listed)
    assert listed != changed


async def test_a_listing_makes_no_versions_that_are_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"x")
    made = list[str]()

    def make(stat: object) -> str:
        made.append("version")
        return "1"

    monkeypatch.setattr(metadata, "version_of", make)
    store = LocalStore("folder", tmp_path)
    try:
        (listed,) = [meta async for meta in store.list()]
        assert (listed.key, listed.size, made) == ("a", 1, [])
        assert (listed.version, made) == ("1", ["version"])
    finally:
        await store.close()


async def test_a_folder_that_is_replaced_while_it_is_listed_is_no_complete_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "PAGE", 1)
    folder = tmp_path / "folder"
    (folder / "a/b").mkdir(parents=True)
    (folder / "a/1").touch()
    (folder / "a/b/2").touch()
    store = LocalStore("folder", folder)
    try:
        found = store.list()
        assert (await anext(found)).key == "a/1"
        folder.rename(tmp_path / "earlier")
        folder.mkdir()
        with pytest.raises(StoreUnavailable):
            [meta async for meta in found]
    finally:
        await store.close()


async def test_an_object_passes_through_no_generators_of_the_folders_above_it(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*"abcdefghij")
    folder.mkdir(parents=True)
    for n in range(200):
        (folder / str(n)).touch()
    store, calls = LocalStore("folder", tmp_path), Counter[str]()

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename == listing.__file__:
            calls[frame.f_code.co_name] += 1

    listeners = listing.Listeners(lambda path, error: None, lambda path, kind: None)
    try:
        sys.setprofile(count)
        found = sum(1 for _ in listing.walk(store._bucket, "", "", listeners))
    finally:
        sys.setprofile(None)
        await store.close()
    assert (found, calls["_files"]) == (200, 201)
    assert calls["below"] + calls["_find_runs"] < 100


def test_the_names_of_a_large_directory_take_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "RUN", 8192)
    count = 20 * listing.RUN
    tracemalloc.start()
    try:
        texts = SortedTexts()
        for n in range(count):
            texts.unsorted.append(f"{n * 7919 % count:08}.bin")
            if len(texts.unsorted) == listing.RUN:
                texts.end_run()
        kept, _ = tracemalloc.get_traced_memory()
        assert kept < 20 * count  # 61 bytes for each as a string, and 8 for its place in a list
        tracemalloc.reset_peak()
        assert sum(1 for _ in texts) == count
        assert tracemalloc.get_traced_memory()[1] - kept < 20 * count
    finally:
        tracemalloc.stop()
