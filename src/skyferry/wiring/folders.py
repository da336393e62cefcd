"""The watched folders as sources of events."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from skyferry.config.settings import Settings
from skyferry.config.urls import resolve_store
from skyferry.discovery.absences.approved import ApprovedDeletes
from skyferry.discovery.absences.guard import DeleteGuard, GuardedSource
from skyferry.discovery.folder.inspector import WatchedFolder
from skyferry.discovery.known_folder import KnownFolder
from skyferry.discovery.reconcile import Reconciler
from skyferry.discovery.source import FolderSource
from skyferry.engine.fleet.roles import DELETES, SCAN, Role, name_role
from skyferry.engine.fleet.sources import EventSource, RoleSource
from skyferry.events.native_encoding import encode_event
from skyferry.model import ObjectEvent
from skyferry.ports import Outgoing, SourceIdentities
from skyferry.routing.routes import Routes
from skyferry.stores.local.blocking.links import is_followed
from skyferry.stores.local.names import key_of, path_of
from skyferry.wiring.identities import identify_kernel
from skyferry.wiring.sources import SourceContext


def watch_folders(parts: SourceContext) -> Sequence[EventSource]:
    """Return a watcher for each local folder that is a source, and the source of approved deletes, each under its role."""

    async def send(role: Role, events: list[ObjectEvent]) -> None:
        await role.confirm()
        await parts.queue.send([Outgoing(encode_event(e)) for e in events])

    settings, routes, context = parts.settings, parts.routes, parts.context
    role = parts.fleet.add_role(DELETES, finds_events=True)
    approved = ApprovedDeletes(context.ledger, partial(send, role), context.clock, context.observer)
    sources: list[EventSource] = [RoleSource(approved, role)]
    for name, folder in parts.folders.items():
        provider, bucket = resolve_store(settings.stores[name]).address
        watched = WatchedFolder(folder.path, name, bucket, key_of, path_of, partial(parts.specials.seen, name))
        if settings.stores[name].special_files == "follow":
            watched = replace(watched, follows=partial(is_followed, folder.path))
        reconciler = Reconciler(parts.stores[name], provider, bucket, routes, context.ledger, context.clock.time)
        guarded = GuardedSource(name, provider, bucket, routes, context.ledger, context.clock, context.observer)
        guard = DeleteGuard(guarded, folder)
        role = parts.fleet.add_role(name_scan(name, folder.path, routes), finds_events=True)
        source = FolderSource(watched, reconciler, guard, partial(send, role), context.clock, context.observer)
        sources.append(RoleSource(source, role))
    return sources


def name_scan(store: str, folder: Path, routes: Routes) -> str:
    """Return the name of the role that scans a folder.

    It is shared by the processes that have the same folder and the same routes from it, on one machine: a kernel announces only
    what is written on its own machine, and folders of two machines may have one path. Others scan for themselves. A change that
    two processes send is one transfer.
    """
    try:
        found = folder.stat()
        place = f"{found.st_dev} {found.st_ino}"
    except OSError:  # it may be mounted later
        place = f"{folder.resolve()} {os.getpid()}"
    names = sorted(route.name for route in routes if route.source_store == store)
    return name_role(SCAN, store, identify_kernel(), place, *names)


def find_folders(settings: Settings, routes: Routes, ledger: SourceIdentities) -> dict[str, KnownFolder]:
    """Return the watched folders, by store."""
    found = {}
    for name in sorted({route.source_store for route in routes}):
        where = resolve_store(settings.stores[name])
        url, (provider, bucket) = where.url, where.address
        if url.on_disk and settings.stores[name].watch:
            found[name] = KnownFolder(url.path(settings.workspace), f"{provider}://{bucket}", ledger, path_of)
    return found
