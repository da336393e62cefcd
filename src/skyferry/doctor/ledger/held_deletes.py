"""Check the ledger for held deletes."""

from __future__ import annotations

from skyferry.doctor.check import Check, CheckSubject
from skyferry.errors import SkyferryError
from skyferry.ports.ledger.held_deletes import sum_by_store
from skyferry.wiring import Opener

HINT = "Mount or restore the source; or decide with `skyferry deletes list`, then `approve` or `reject`."


async def check_held_deletes(opener: Opener) -> list[Check]:
    """Report each source with held deletes. An unreadable ledger is reported by another check."""
    try:
        if (ledger := await opener.existing_ledger()) is None:
            return []
        try:
            counts = sum_by_store(await ledger.count_held_deletes())
        finally:
            await ledger.close()
    except SkyferryError:
        return []
    said = "objects are missing, and their deletes are held"
    return [CheckSubject("store", store).wrong("held", f"{count:,} {said}", HINT) for store, count in counts.items()]
