"""Find out the service at endpoints whose settings do not name it, and what it does in a bucket that keeps versions.

This takes one or two requests for each such bucket, at the start.
"""

from __future__ import annotations

import asyncio
import re
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

_OPTION = re.compile(r"([?&]service=)[^&]*")
PATIENCE = 5.0  # seconds; an endpoint that is down must not delay the start


async def identify_services(opener: Opener, observer: Observer) -> Opener:
    """Return the opener with the settings of those services that say what they are. Raises ConfigError as `Opener.store`.

    A service that does not answer, or does not say it, is relied on for nothing more than before. One that does less in a
    bucket that keeps versions is relied on for that only, unless the bucket keeps none.
    """
    settings = opener.settings
    used = dict.fromkeys(name for route in routes_here(settings) for name in (route.source, route.destination))
    unknown = [name for name in used if name in settings.stores and _is_undetermined(settings.stores[name])]
    found = dict(zip(unknown, await asyncio.gather(*(_identify(opener, name) for name in unknown)), strict=True))
    known = {name: resolve_store(settings.stores[name]).settings.service for name in found}
    named = {name: service for name, service in found.items() if service not in ("", known[name])}
    for name, service in named.items():
        observer.on(Record("store.identified", store=name, message=service))
    return (
        replace(opener, settings=settings.model_copy(update={"stores": _named(settings.stores, named)}))
        if named
        else opener
    )


def _is_undetermined(store: StoreSettings) -> bool:
    where = resolve_store(store)
    chosen = store.service or where.url.options.get("service")
    unidentified = where.profile.unidentified and not chosen
    return where.url.known.identify is not None and (unidentified or where.profile.versioned_service != "")


async def _identify(opener: Opener, name: str) -> str:
    identify = opener.store_scheme(name).identify
    assert identify is not None  # as `_is_undetermined` says
    context = opener.store_context(name)
    with suppress(SkyferryError, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            return await identify(context)
    return context.where.profile.versioned_service


def _named(stores: Mapping[str, StoreSettings], services: Mapping[str, str]) -> dict[str, StoreSettings]:
    return {name: _name(store, services.get(name, "")) for name, store in stores.items()}


def _name(store: StoreSettings, service: str) -> StoreSettings:
    url = _OPTION.sub(lambda option: option[1] + service, store.url)  # it overrides the setting
    return store.model_copy(update={"service": service, "url": url}) if service else store
