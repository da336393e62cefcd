"""Held deletes whose store and route get other names in the configuration."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.discovery.absences.test_guard import HELD, MIRROR, World

from skyferry.config.settings import Settings
from skyferry.ports import Clock, HeldFilter
from skyferry.routing.routes import Routes


async def test_held_deletes_follow_the_names_of_their_store_and_routes(folder: Path, clock: Clock) -> None:
    """A person selects them by the names in the configuration; an object that is back is recognised as well."""
    world = World(folder, clock)
    world.put("a", "b", "d/c", "d/e")
    await world.reconcile()
    shutil.rmtree(folder / "d")
    await world.reconcile()
    before = (await world.ledger.list_held_deletes(HELD)).items
    stores = {"renamed": {"url": "file://x/bucket"}, "out": {"url": "file://out"}}
    route = {**MIRROR, "name": "other", "from": "renamed"}
    world.name, world.routes = "renamed", Routes(Settings.model_validate({"stores": stores, "routes": [route]}))
    world.start()
    assert await world.reconcile() == []
    after = (await world.ledger.list_held_deletes(HeldFilter(store="renamed", route="other"))).items
    assert {(h.id, h.at, h.reason) for h in after} == {(h.id, h.at, h.reason) for h in before}
    assert await world.held(HeldFilter(store="in")) == []
    world.put(key := after[0].source.key)
    await world.reconcile()
    assert key not in await world.held()
