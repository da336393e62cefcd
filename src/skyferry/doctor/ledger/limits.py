"""Report the limits that the workers of the ledger share."""

from __future__ import annotations

from collections.abc import Iterator

from skyferry.config.settings import Settings, StoreSettings
from skyferry.config.urls import LedgerUrl
from skyferry.doctor.check import Check, CheckSubject


def check_shared_limits(settings: Settings, ledger: str) -> Iterator[Check]:
    """Yield one check for each store with `shared_limits`. `ledger` is shown. Pure."""
    on_disk = LedgerUrl.parse(settings.ledger.url).known.shared_by == "machine"
    workers = "the processes of this machine alone, through the file" if on_disk else "all workers of"
    for name, store in settings.stores.items():
        if store.shared_limits:
            yield CheckSubject("store", name).ok("limits", f"{_describe_limits(store)}: with {workers} {ledger}")


def _describe_limits(store: StoreSettings) -> str:
    rates = [f"{store.requests_per_second:g} requests/s"] if store.requests_per_second else []
    rates += [f"{store.bytes_per_second:,} bytes/s"] if store.bytes_per_second else []
    return ", ".join([*rates, "circuit breaker"])
