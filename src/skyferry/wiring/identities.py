"""The stores of a configuration, as the ledger has met them: a name may mean another bucket than it did."""

from __future__ import annotations

from contextlib import suppress

from skyferry.config.settings import Settings
from skyferry.errors import LedgerError
from skyferry.ports import SourceIdentities
from skyferry.routing.locations import StoreLocation


def identify_stores(settings: Settings) -> dict[str, str]:
    """What each store is, by name. Raises ValueError for a URL that is none."""
    home = settings.workspace
    return {name: StoreLocation.of(store, home).identity(home) for name, store in settings.stores.items()}


async def find_moved_stores(ledger: SourceIdentities, settings: Settings, *, remember: bool = False) -> set[str]:
    """The names that meant another store when the ledger met them first: what it holds without an identity is not theirs.

    `remember` writes down what is new. A ledger that cannot be asked has met nothing: it says so again when it is needed.
    """
    found = set[str]()
    used = {route.destination for route in settings.routes}
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
