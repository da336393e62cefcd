"""`skyferry ls`, also of stores that list in an order of their own."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.cli.conftest import Cli

from skyferry.cli.arguments import object_urls
from skyferry.cli.exit_codes import ExitCode
from skyferry.config.settings import Settings, StoreSettings
from skyferry.model import ObjectMeta
from skyferry.stores.memory import MemoryStore
from skyferry.testing.clock import ManualClock

HIERARCHY = ["a", "a/b", "a-b", "b", "c"]
UTF_16 = ["a", "b", "\U0001f600", "\uff5e", "\uffee"]


class Listed(MemoryStore):
    keys: list[str]

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        for key in self.keys:
            if key > after:
                yield ObjectMeta(key, 1, "1", 0.0)


@pytest.mark.parametrize(
    ("order", "keys"), [("none", HIERARCHY), ("plain", UTF_16), ("bytes", sorted(HIERARCHY)), ("none", HIERARCHY[::-1])]
)
@pytest.mark.parametrize("limit", [1, 2, 3, 10])
def test_page_by_page_each_key_is_shown_once(
    monkeypatch: pytest.MonkeyPatch, order: Any, keys: list[str], limit: int
) -> None:
    store = Listed("store", ManualClock())
    store.keys, store.traits = keys, replace(store.traits, order=order)
    monkeypatch.setattr(object_urls, "open_protected", lambda wanted, settings: nullcontext(store))
    wanted = object_urls.ObjectLocation("s3://b", StoreSettings(url="memory://b"), "")
    shown: list[str] = []
    module = importlib.import_module("skyferry.cli.commands.objects.ls")  # the package's own `ls` is the command
    while True:
        found = asyncio.run(module._list_objects(wanted, Settings(), limit, shown[-1] if shown else ""))
        shown += [meta.key for meta in found[:limit]]
        if len(found) <= limit:
            break
    assert shown == sorted(keys)


def test_all_objects_are_listed_without_a_limit(cli: Cli) -> None:
    Path("in").mkdir()
    for number in range(1100):
        Path(f"in/{number:04}").write_text("x")
    assert len(cli("ls", "in").out.splitlines()) == 1100
    told = cli("ls", "in", "--limit", "2")
    assert ([line.split()[-1] for line in told.out.splitlines()], told.err) == (
        ["0000", "0001"],
        "there are more: --after '0001'\n",
    )
    told = cli("ls", "in/110*", "--json")
    assert (told.code, told.out) == (ExitCode.FAILED, "")


@pytest.mark.parametrize("url", ["in/nothing", "in/no/folder/", "in/*.gz", "absent"])
def test_nothing_is_an_error(cli: Cli, url: str) -> None:
    Path("in").mkdir()
    Path("in/a.txt").write_text("a")
    told = cli("ls", url)
    assert (told.code, told.out) == (ExitCode.FAILED, "")
    assert f"error: {url}: " in told.err


def test_an_empty_folder_is_no_error(cli: Cli) -> None:
    Path("in").mkdir()
    assert (cli("ls", "in").code, cli("ls", "in").out) == (0, "")


def test_the_long_form_has_exact_sizes_and_versions(cli: Cli) -> None:
    Path("in").mkdir()
    Path("in/a.txt").write_bytes(bytes(2000))
    size, modified, version, key = cli("ls", "in", "-l").out.split()
    assert (size, modified[-1], key) == ("2000", "Z", "a.txt")
    assert cli("ls", "in").out.split()[:2] == ["2.0", "KiB"]
    assert orjson.loads(cli("ls", "in", "--json").out)["version"] == version


def test_control_characters_in_keys_cannot_control_the_terminal(cli: Cli) -> None:
    Path("in").mkdir()
    Path("in/a\x1b[2J\n").write_text("x")
    for option in ([], ["-l"]):
        assert "a\\x1b[2J\\x0a" in cli("ls", "in", *option).out


@pytest.mark.parametrize("option", [[], ["-l"], ["--json"]])
def test_a_key_that_is_no_unicode_is_escaped(cli: Cli, monkeypatch: pytest.MonkeyPatch, option: list[str]) -> None:
    """As of bytes that are not UTF-8, in a listing of S3."""
    store = Listed("store", ManualClock())
    store.keys = ["a", "\udcff"]
    monkeypatch.setattr(object_urls, "open_protected", lambda wanted, settings: nullcontext(store))
    listed = cli("ls", "s3://bucket", *option)
    assert (listed.code, len(listed.out.splitlines())) == (0, 2)
    assert "udcff" in listed.out or "\\xdcff" in listed.out
