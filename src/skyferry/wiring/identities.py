"""Identities of stores in the ledger, their marks in provenance, digests of routes and queues, identifiers of this machine."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from operator import attrgetter
from pathlib import Path

from skyferry.config.regions import routes_here
from skyferry.config.sections.section import Section
from skyferry.config.servers.address import parse_server
from skyferry.config.settings import Settings
from skyferry.config.urls import QueueUrl
from skyferry.engine.fleet.roles import digest_facts
from skyferry.errors import LedgerError
from skyferry.ports.ledger import LedgerRecords, SourceIdentities
from skyferry.routing.locations import StoreLocation

BOOT = Path("/proc/sys/kernel/random/boot_id")  # differs on each machine, and is the same in all its containers
IDS = (Path("/etc/machine-id"), BOOT)  # the second if the first does not exist, as in containers


def identify_stores(settings: Settings) -> dict[str, str]:
    """Return the identity of each store, by name. Raises ValueError for an invalid URL."""
    home = settings.workspace
    return {name: StoreLocation.of(store, home).identity(home) for name, store in settings.stores.items()}


def digest_routes(settings: Settings) -> str:
    """Return a digest of what decides where an event goes: the routes, and what their stores are.

    Defaults are left out, so a release with more settings has the same digest.
    """
    routes = sorted(settings.routes, key=attrgetter("name"))
    used = sorted({store for route in routes for store in (route.source, route.destination)})
    stores = identify_stores(settings)
    return digest_facts(*(repr(_list_changed(route)) for route in routes), *(f"{s} {stores.get(s, '')}" for s in used))


def _list_changed(section: Section) -> dict[str, object]:
    """Return the settings of a section that differ from their defaults. The order of names has no meaning."""
    found: dict[str, object] = {}
    for name, field in sorted(section.model_fields.items()):
        value = getattr(section, name)
        if field.required or value != field.make_default():
            found[name] = _sort_names(value)
    return found


def _sort_names(value: object) -> object:
    if isinstance(value, Section):
        return _list_changed(value)
    return sorted(value.items()) if isinstance(value, dict) else value


def digest_queues(settings: Settings) -> str:
    """Return a digest of the queues. Of the workers with the same queues, one exports their depths.

    The workers of a ledger may have different ones, such as one in each region. A queue in a file or on loopback belongs to
    one machine, a queue in memory to one process.
    """
    own = [queue.url for queue in settings.queues if QueueUrl.parse(queue.url).known.cloud == "server"]
    sharing = {QueueUrl.parse(queue.url).known.shared_by for queue in settings.queues}
    facts = [f"{queue.name} {queue.url}" for queue in settings.queues]
    if any(parse_server(url, 0, "").is_local for url in own):
        facts.append(identify_machine())
    if "machine" in sharing:
        facts += [identify_kernel(), str(settings.workspace.resolve())]
    if "process" in sharing:
        facts += [identify_kernel(), str(os.getpid())]
    return digest_facts(*facts)


async def find_moved_stores(ledger: SourceIdentities | LedgerRecords, settings: Settings) -> set[str]:
    """Return the names that now refer to another store than at first. Records without an identity do not apply to them.

    An unreadable ledger counts as empty here; its error is raised when it is needed.
    """
    found = set[str]()
    with suppress(LedgerError):
        for name, identity in _identify_destinations(settings).items():
            if (await ledger.get_identity(f"store {name}") or identity) != identity:
                found.add(name)
    return found


async def remember_stores(ledger: SourceIdentities, settings: Settings) -> None:
    """Record the identities of new names. An unreadable ledger is as in `find_moved_stores`."""
    with suppress(LedgerError):
        for name, identity in _identify_destinations(settings).items():
            if not await ledger.get_identity(f"store {name}"):
                await ledger.set_identity(f"store {name}", identity)


def _identify_destinations(settings: Settings) -> dict[str, str]:
    used = {route.destination for route in routes_here(settings)}
    return {name: identity for name, identity in identify_stores(settings).items() if name in used}


def mark_stores(settings: Settings) -> dict[str, str]:
    """Return the mark of each store in provenance, by name. Raises ValueError for an invalid URL."""
    here = identify_machine()
    return {name: StoreLocation.of(store, settings.workspace).mark(here) for name, store in settings.stores.items()}


def identify_machine() -> str:
    """Return an identifier of this machine, for folders and servers on loopback."""
    for file in IDS:
        with suppress(OSError, UnicodeDecodeError):
            if ident := file.read_text().strip():
                return f"{socket.gethostname()} {ident}"
    return socket.gethostname()


def identify_kernel() -> str:
    """Return an identifier of the running kernel, for device numbers and notifications. It changes with each boot."""
    try:
        return BOOT.read_text("ascii").strip()
    except OSError:  # not Linux
        return socket.gethostname()
