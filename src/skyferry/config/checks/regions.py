"""Check `region`, `run_in` and `allow_regions`: a region that is not known is a fault wherever a route depends on it."""

from __future__ import annotations

from contextlib import suppress

from skyferry.config.checks.validate import ValidDocument
from skyferry.config.reading.document import Document
from skyferry.config.reading.faults import Place, suggest
from skyferry.config.regions import allows_region, region_of_store, runs_here
from skyferry.config.settings import RouteSettings, Settings

HERE = "Set SKYFERRY_REGION, or `region` at the top of the configuration."


def check_regions(valid: ValidDocument, document: Document) -> None:
    """Report every fault."""
    settings, modes, regions, runs = valid.settings, dict[str, str](), dict[str, None](), False
    for index, route in zip(valid.routes, settings.routes, strict=True):
        place: Place = ("routes", index)
        if modes.setdefault(route.source, route.run_in) != route.run_in:
            why = f"routes from {route.source} differ in run_in, so no worker could finish its events"
            document.fault((*place, "run_in"), why, "Give all routes from one store the same run_in.")
        with suppress(KeyError, ValueError):  # stores are reported by other checks
            if route.run_in == "source":
                regions[region_of_store(settings, route.source)] = None
                _check_run_in(place, route, settings, document)
            if runs_here(route, settings):
                runs = True
                _check_allowed(place, route, settings, document)
    known = [region for region in regions if region]
    if settings.region and known and not runs:
        document.fault(("region",), f"no route runs in {settings.region}", suggest(settings.region, known))


def _check_run_in(place: Place, route: RouteSettings, settings: Settings, document: Document) -> None:
    at = (*place, "run_in")
    if not region_of_store(settings, route.source):
        document.fault(at, f"the region of store {route.source} is not known", "Set `region` of the store.")
    if not settings.region:
        document.fault(at, "the region of this worker is not known", HERE)


def _check_allowed(place: Place, route: RouteSettings, settings: Settings, document: Document) -> None:
    """Check the destination and this worker, through which the data pass."""
    at, allowed = (*place, "allow_regions"), ", ".join(route.allow_regions)
    if not allowed:
        return
    there = region_of_store(settings, route.destination)
    if not there:
        document.fault(at, f"the region of store {route.destination} is not known", "Set `region` of the store.")
    elif not allows_region(route.allow_regions, there):
        why = f"store {route.destination} is in {there}, but the copies may be in {allowed} only"
        document.fault(at, why, "Use a store in one of these regions.")
    if not settings.region:
        document.fault(at, "the region of this worker is not known", HERE)
    elif not allows_region(route.allow_regions, settings.region):
        why = f"this worker is in {settings.region}, but the data may pass through {allowed} only"
        document.fault(at, why, "Run the route elsewhere (run_in: source), or this worker in one of these regions.")
