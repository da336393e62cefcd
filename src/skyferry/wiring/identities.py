"""The identities of stores in the ledger: the name of a store may now refer to another bucket."""

from __future__ import annotations

from contextlib import suppress

from skyferry.config.regions import routes_here
from skyferry.config.settings import Settings
from skyferry.errors import LedgerError
from skyferry.ports import SourceIdentities
from skyferry.routing.locations import StoreLocation


def identify_stores(settings: Settings) -> dict[str, str]:
    """Return the identity of each store, by name. Raises ValueError for an invalid URL."""
    home = settings.workspace
    return {name: StoreLocation.of(store, home).identity(home) for name, store in settings.stores.items()}


async def find_moved_stores(ledger: SourceIdentities, settings: Settings, *, remember: bool = False) -> set[str]:
    """Return the names that referred to another store at first. Records without an identity do not apply to them.

    With `remember`, record new names. An unreadable ledger counts as empty here; its error is raised when it is needed.
    """
    found = set[str]()
    used = {route.destination for route in routes_here(settings)}
    with suppress(LedgerError):
        for name, identity in identify_stores(settings).items():
            if name not in used:
                continue
            first = await ledger.get_identity(f"store {name}")
            if not first and remember:
                await ledger.set_identity(f"store {name}", identity)
            elif first and first != identity:
                found.add(name)
    return found
