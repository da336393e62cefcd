"""Check the ledger for kept events of unknown buckets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from difflib import get_close_matches

from skyferry.config.settings import Settings
from skyferry.config.urls import resolve_store
from skyferry.doctor.check import Check, CheckSubject
from skyferry.errors import SkyferryError
from skyferry.wiring import Opener

PLACE = CheckSubject("ledger", "ledger")


async def check_unrouted(opener: Opener) -> list[Check]:
    """Report unknown buckets. Without a ledger, there is nothing to report."""
    try:
        if (ledger := await opener.existing_ledger()) is None:
            return []
        try:
            found = await ledger.count_unrouted()
        finally:
            await ledger.close()
    except SkyferryError as error:
        return [PLACE.failed("reach", error)]
    return list(check_unknown_buckets(found, opener.settings))


def check_unknown_buckets(found: Sequence[tuple[str, int]], settings: Settings) -> Iterator[Check]:
    """Yield one check for each bucket. Pure."""
    known: dict[str, str] = {}  # store by bucket
    for name, store in settings.stores.items():
        with suppress(ValueError):
            known[resolve_store(store).address[1]] = name
    for bucket, count in found:
        name = bucket.partition("://")[2]
        close = get_close_matches(name, known, 1)
        meant = (
            f"Set `stores` of its queue to {known[name]} if that is meant"
            if name in known
            else (
                f"Correct `stores.{known[close[0]]}.url` if {close[0]} is meant"
                if close
                else "Add its store and a route"
            )
        )
        detail = f"{count:,} kept of {bucket}, which none is"
        hint = f"{meant}, then `skyferry dead-letters redrive --reason unrouted_bucket`; if others take them, see unknown_buckets"
        yield PLACE.wrong("unrouted", detail, hint)
