"""Find out the service at endpoints whose settings do not name it: one request for each bucket, at the start."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from skyferry.config.regions import routes_here
from skyferry.config.settings import StoreSettings
from skyferry.config.urls import resolve_store
from skyferry.errors import SkyferryError
from skyferry.ports import Observer
from skyferry.records import Record
from skyferry.wiring.opener import Opener

PATIENCE = 5.0  # seconds; an endpoint that is down must not delay the start


async def identify_services(opener: Opener, observer: Observer) -> Opener:
    """Return the opener with the settings of those services that say what they are. Raises ConfigError as `Opener.store`.

    A service that does not answer, or does not say it, is relied on for nothing, as before.
    """
    settings = opener.settings
    used = dict.fromkeys(name for route in routes_here(settings) for name in (route.source, route.destination))
    unknown = [name for name in used if name in settings.stores and _is_unknown(settings.stores[name])]
    found = dict(zip(unknown, await asyncio.gather(*(_identify(opener, name) for name in unknown)), strict=True))
    named = {name: service for name, service in found.items() if service}
    for name, service in named.items():
        observer.on(Record("store.identified", store=name, message=service))
    return (
        replace(opener, settings=settings.model_copy(update={"stores": _named(settings.stores, named)}))
        if named
        else opener
    )


def _is_unknown(store: StoreSettings) -> bool:
    where = resolve_store(store)
    chosen = store.service or where.url.options.get("service")
    return where.url.known.identify is not None and where.profile.unidentified and not chosen


async def _identify(opener: Opener, name: str) -> str:
    identify = opener.store_scheme(name).identify
    assert identify is not None  # as `_is_unknown` says
    with suppress(SkyferryError, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            return await identify(opener.store_context(name))
    return ""


def _named(stores: Mapping[str, StoreSettings], services: Mapping[str, str]) -> dict[str, StoreSettings]:
    return {n: s.model_copy(update={"service": services[n]}) if n in services else s for n, s in stores.items()}
