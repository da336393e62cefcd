"""The identities of stores in the ledger: the name of a store may now refer to another bucket."""

from __future__ import annotations

from contextlib import suppress

from skyferry.config.regions import routes_here
from skyferry.config.settings import Settings
from skyferry.errors import LedgerError
from skyferry.ports.ledger import LedgerRecords, SourceIdentities
from skyferry.routing.locations import StoreLocation


def identify_stores(settings: Settings) -> dict[str, str]:
    """Return the identity of each store, by name. Raises ValueError for an invalid URL."""
    home = settings.workspace
    return {name: StoreLocation.of(store, home).identity(home) for name, store in settings.stores.items()}


async def find_moved_stores(ledger: SourceIdentities | LedgerRecords, settings: Settings) -> set[str]:
    """Return the names that referred to another store at first. Records without an identity do not apply to them.

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
