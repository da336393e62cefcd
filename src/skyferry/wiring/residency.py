"""Data residency: the stores that must be in certain regions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from skyferry.config.regions import allows_region, routes_here
from skyferry.config.settings import Settings
from skyferry.config.urls import resolve_store
from skyferry.engine.resilience.residency import ResidencyStore, ensure_regions
from skyferry.errors import ConfigError, RegionNotAllowed
from skyferry.ports import Clock, ObjectStore, Observer
from skyferry.ports.inspection import InspectableStore


async def guard_regions(
    stores: Mapping[str, ObjectStore], settings: Settings, clock: Clock, observer: Observer
) -> dict[str, ObjectStore]:
    """Return the stores, with a guard around destinations under `allow_regions`. Raises ConfigError for one outside of them."""
    guarded, guards = dict(stores), []
    for name, store in stores.items():
        wanted = [r.allow_regions for r in routes_here(settings) if r.destination == name and r.allow_regions]
        cloud = resolve_store(settings.stores[name]).url.at_a_cloud
        if wanted and cloud and isinstance(store, InspectableStore):
            allowed = " and ".join(", ".join(patterns) for patterns in dict.fromkeys(wanted))
            guards.append(ResidencyStore(store, partial(_allow, wanted), allowed, clock, observer))
            guarded[name] = guards[-1]
    try:
        await ensure_regions(guards)
    except RegionNotAllowed as error:
        raise ConfigError(error.message, where=error.where, hint="Correct the store, or allow_regions.") from error
    return guarded


def _allow(wanted: list[tuple[str, ...]], region: str) -> bool:
    return all(allows_region(patterns, region) for patterns in wanted)
