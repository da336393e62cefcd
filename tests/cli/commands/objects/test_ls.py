"""`skyferry ls` of stores that list in an order of their own."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from skyferry.cli.arguments import object_urls
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
    monkeypatch.setattr(object_urls, "open_protected", lambda wanted, opener: store)
    wanted = object_urls.ObjectLocation("s3://b", StoreSettings(url="memory://b"), "")
    shown: list[str] = []
    module = importlib.import_module("skyferry.cli.commands.objects.ls")  # the package's own `ls` is the command
    while True:
        found = asyncio.run(module._list_objects(wanted, Settings(), limit, shown[-1] if shown else ""))
        shown += [meta.key for meta in found[:limit]]
        if len(found) <= limit:
            break
    assert shown == sorted(keys)
