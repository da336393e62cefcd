"""Regions: which routes a worker runs, and where the copies of a route may be. Pure.

Names are compared without case and spaces, because providers write one region in several ways (West Europe, westeurope).
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from skyferry.config.settings import RouteSettings, Settings
from skyferry.config.urls import resolve_store


def fold_region(name: str) -> str:
    """Return the form of a region's name that is compared."""
    return name.replace(" ", "").lower()


def region_of_store(settings: Settings, store: str) -> str:
    """Return the configured region of a store; "" if it is not known. Raises KeyError, ValueError for a faulty store."""
    return fold_region(resolve_store(settings.stores[store]).settings.region)


def runs_here(route: RouteSettings, settings: Settings) -> bool:
    """Return True if this worker runs the route. Raises KeyError, ValueError for a faulty store."""
    return route.run_in == "any" or region_of_store(settings, route.source) == fold_region(settings.region)


def routes_here(settings: Settings) -> tuple[RouteSettings, ...]:
    """Return the routes that this worker runs, from settings of `load`."""
    return tuple(route for route in settings.routes if runs_here(route, settings))


def allows_region(patterns: Sequence[str], region: str) -> bool:
    """Return True if a region matches one of the patterns of `allow_regions`, or if there are none."""
    name = fold_region(region)
    return not patterns or any(fnmatchcase(name, fold_region(pattern)) for pattern in patterns)
