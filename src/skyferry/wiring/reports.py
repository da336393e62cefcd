"""The records of what wiring finds: the ledger, special files, unreadable names, refused credentials, metadata that is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from skyferry.errors import SkyferryError
from skyferry.ports import Ledger, ObjectStore, Observer
from skyferry.records import Record
from skyferry.routing.routes import Routes
from skyferry.stores.local.blocking.files import special_kind
from skyferry.wiring.opener import Opener

PATIENCE = 5.0  # seconds for the ledger to say who uses it
KNOWN = 100_000  # remembered paths; more are not reported


class SpecialReports:
    """Reports each link, pipe, socket and device of a local store once, whether a listing or the watcher finds it."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._known: set[tuple[str, str]] = set()

    def found(self, store: str, path: str, kind: str) -> None:
        """Report a path of a store, unless it was reported before."""
        if (store, path) in self._known or len(self._known) >= KNOWN:
            return
        self._known.add((store, path))
        message = f"it is a {kind}, not an object"
        self._observer.on(Record("store.special_file", store=store, key=path, reason=kind, message=message))

    def seen(self, store: str, path: str, mode: int) -> None:
        """Report a path that the watcher found."""
        self.found(store, path, special_kind(mode))


async def report_ledger(opener: Opener, ledger: Ledger, observer: Observer) -> None:
    """Report which ledger it is, and who uses it. One that does not answer is reported by its first use."""
    if (maintenance := opener.ledger_maintenance()) is None:
        return
    with suppress(SkyferryError, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            others = sum((await ledger.count_workers()).values())
            known = sum((await ledger.count_transfers()).values())
        used = f"{others:,} other worker{'' if others == 1 else 's'}, {known:,} transfer{'' if known == 1 else 's'}"
        observer.on(Record("ledger.opened", count=others, message=f"{maintenance.where}: {used}"))


def report_losses(routes: Routes, stores: Mapping[str, ObjectStore], observer: Observer) -> None:
    """Report the attributes of the source that the destination of a route cannot keep."""
    for route in routes:
        source, destination = stores[route.source_store].traits, stores[route.store].traits
        if lost := [attribute for attribute in destination.lossy if attribute not in source.lossy]:
            observer.on(Record("route.metadata_lost", route=route.name, store=route.store, message="; ".join(lost)))


def report_unreadable(observer: Observer, store: str, name: str, error: SkyferryError) -> None:
    """Report a file or folder that a listing leaves out."""
    observer.on(Record("watch.unreadable", store=store, key=name, message=error.message, hint=error.hint))


def report_refused(observer: Observer, store: str, error: SkyferryError) -> None:
    """Report credentials that the store refused."""
    observer.on(Record("identity.failed", store=store, error=error.kind, message=error.message, hint=error.hint))
