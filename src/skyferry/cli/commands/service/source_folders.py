"""The local folders that are sources of routes."""

from __future__ import annotations

from pathlib import Path

from skyferry.config.regions import routes_here
from skyferry.config.settings import Settings
from skyferry.config.urls import StoreUrl


def create_source_folders(settings: Settings) -> None:
    """Create the source folders of this worker inside the workspace.

    Raises ConfigError if another is missing: its disk may not be mounted. Folders that are also destinations are created
    later, unless the ledger knows them.
    """
    from skyferry.wiring.destinations import make_folder

    routes = routes_here(settings)
    destinations = {route.destination for route in routes}
    for name in dict.fromkeys(route.source for route in routes if route.source not in destinations):
        url = StoreUrl.parse(settings.stores[name].url)
        if url.on_disk:
            make_folder(url.path(settings.workspace), url)


def find_watched_folders(settings: Settings) -> list[Path]:
    """Return the source folders that this worker watches, in the order of its routes."""
    names = dict.fromkeys(route.source for route in routes_here(settings))
    urls = [StoreUrl.parse(settings.stores[name].url) for name in names if settings.stores[name].watch]
    return [url.path(settings.workspace) for url in urls if url.on_disk]
