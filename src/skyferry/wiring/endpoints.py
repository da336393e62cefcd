"""Ask services at the start which one an unnamed endpoint is, and whether a server may lose what it has confirmed.

A bucket whose service is not named takes one or two requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from skyferry.clouds.identity.extras import require_extra
from skyferry.config.regions import routes_here
from skyferry.config.settings import StoreSettings
from skyferry.config.urls import resolve_queue, resolve_store
from skyferry.errors import SkyferryError
from skyferry.ports import EventQueue, Observer
from skyferry.ports.inspection import InspectableLedger, InspectableQueue
from skyferry.records import Record
from skyferry.regex import compile_lazily
from skyferry.wiring.opener import Opener

_OPTION = compile_lazily(r"([?&]service=)[^&]*")
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
    row, context = opener.store_scheme(name), opener.store_context(name)
    assert row.identify is not None  # as `_is_undetermined` says
    with require_extra(row.extra, f"{context.where.url.scheme}://"), suppress(SkyferryError, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            return await row.identify(context)
    return context.where.profile.versioned_service


def _named(stores: Mapping[str, StoreSettings], services: Mapping[str, str]) -> dict[str, StoreSettings]:
    return {name: _name(store, services.get(name, "")) for name, store in stores.items()}


def _name(store: StoreSettings, service: str) -> StoreSettings:
    url = _OPTION.sub(lambda option: option[1] + service, store.url)  # it overrides the setting
    return store.model_copy(update={"service": service, "url": url}) if service else store


async def report_unsafe_servers(opener: Opener, queues: Iterable[EventQueue], observer: Observer) -> None:
    """Report the settings of one's own servers with which they may lose what they have confirmed. `doctor` shows the others.

    A server that does not report its settings is no error here.
    """
    ledger: object = opener.ledger_maintenance()
    places = {queue.name: queue for queue in opener.settings.queues}
    own = [q for q in queues if resolve_queue(places[q.name]).url.known.cloud == "server"]
    inspectable: list[tuple[str, InspectableLedger | InspectableQueue]] = [
        *([("", ledger)] if isinstance(ledger, InspectableLedger) else []),
        *((queue.name, queue) for queue in own if isinstance(queue, InspectableQueue)),
    ]
    for name, server in inspectable:
        with suppress(SkyferryError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                unsafe = [wrong for wrong in (await server.inspect()).wrong if wrong.loses]
            if unsafe:
                message, hint = "; ".join(wrong.what for wrong in unsafe), " ".join(wrong.hint for wrong in unsafe)
                observer.on(Record("server.unsafe", queue=name, message=message, hint=hint))
