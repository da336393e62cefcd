"""The watched folders as sources of events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from skyferry.config.settings import Settings
from skyferry.config.urls import resolve_store
from skyferry.discovery.absences.approved import ApprovedDeletes
from skyferry.discovery.absences.guard import DeleteGuard, GuardedSource
from skyferry.discovery.folder.inspector import WatchedFolder
from skyferry.discovery.known_folder import KnownFolder
from skyferry.discovery.reconcile import Reconciler
from skyferry.discovery.source import FolderSource
from skyferry.engine.service import EventSource
from skyferry.events.native_encoding import encode_event
from skyferry.model import ObjectEvent
from skyferry.ports import Outgoing, SourceIdentities
from skyferry.routing.routes import Routes
from skyferry.stores.local.blocking.links import is_followed
from skyferry.stores.local.names import key_of, path_of
from skyferry.wiring.service import SourceContext


def watch_folders(parts: SourceContext) -> Sequence[EventSource]:
    """Return a watcher for each local folder that is a source, and the source of approved deletes."""

    async def send(events: list[ObjectEvent]) -> None:
        await parts.queue.send([Outgoing(encode_event(e)) for e in events])

    settings, routes, context = parts.settings, parts.routes, parts.context
    sources: list[EventSource] = [ApprovedDeletes(context.ledger, send, context.clock, context.observer)]
    for name, folder in parts.folders.items():
        provider, bucket = resolve_store(settings.stores[name]).address
        watched = WatchedFolder(folder.path, name, bucket, key_of, path_of, partial(parts.specials.seen, name))
        if settings.stores[name].special_files == "follow":
            watched = replace(watched, follows=partial(is_followed, folder.path))
        reconciler = Reconciler(parts.stores[name], provider, bucket, routes, context.ledger, context.clock.time)
        guarded = GuardedSource(name, provider, bucket, routes, context.ledger, context.clock, context.observer)
        guard = DeleteGuard(guarded, folder)
        sources.append(FolderSource(watched, reconciler, guard, send, context.clock, context.observer))
    return sources


def find_folders(settings: Settings, routes: Routes, ledger: SourceIdentities) -> dict[str, KnownFolder]:
    """Return the watched folders, by store."""
    found = {}
    for name in sorted({route.source_store for route in routes}):
        where = resolve_store(settings.stores[name])
        url, (provider, bucket) = where.url, where.address
        if url.on_disk and settings.stores[name].watch:
            found[name] = KnownFolder(url.path(settings.workspace), f"{provider}://{bucket}", ledger, path_of)
    return found
