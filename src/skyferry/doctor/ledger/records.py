"""Check the ledger for what waits for a decision: held deletes, events of unknown buckets, and names of other stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches

from skyferry.config.settings import Settings
from skyferry.config.urls import resolve_store
from skyferry.doctor.check import Check, CheckSubject
from skyferry.errors import SkyferryError
from skyferry.ports import WorkerEntry
from skyferry.ports.ledger.held_deletes import sum_by_store
from skyferry.wiring import Opener
from skyferry.wiring.identities import digest_queues, digest_routes, find_moved_stores

PLACE = CheckSubject("ledger", "ledger")
SHARED = "If another deployment uses this ledger, give each a ledger of its own. If the store has moved, this is right."
DIFFERENT = (
    "An event goes where the worker that receives it sends it: give all workers of these queues the same configuration."
)
MOST = 1000  # workers that are compared
SHOWN = 3  # of their ids
OLDER = "`skyferry ledger status` lists the steps, and `skyferry ledger migrate` applies them."
HELD = "Mount or restore the source; or decide with `skyferry deletes list`, then `approve` or `reject`."


async def check_records(opener: Opener) -> list[Check]:
    """Report held deletes by source, unknown buckets, and stores that have moved. Without a ledger, there is nothing to report.

    An older ledger is left as it is.
    """
    try:
        maintenance = opener.ledger_maintenance()
        if maintenance is None or not await maintenance.exists():
            return []
        status = await maintenance.read_status()
        if status.compatible_from > status.known:
            said = f"its schema is for programs from version {status.compatible_from}, and this Skyferry knows {status.known}"
            return [PLACE.wrong("usable", said, "Update Skyferry on this machine.")]
        if status.version < status.known:
            said = f"its schema is {status.version}, which the next start brings to {status.known}; its records are not read before"
            return [PLACE.unknown("usable", said, OLDER)]
        async with maintenance.read_records() as ledger:
            held, unknown = sum_by_store(await ledger.count_held_deletes()), await ledger.count_unrouted()
            moved = {
                name: await ledger.get_identity(f"store {name}")
                for name in sorted(await find_moved_stores(ledger, opener.settings))
            }
            workers = (await ledger.list_workers(limit=MOST)).items
    except SkyferryError as error:
        return [PLACE.failed("usable", error)]
    shared = [PLACE.unknown("stores", f"{name} was {first}", SHARED) for name, first in moved.items()]
    shared += _check_workers(workers, opener.settings)
    return [*_held_deletes(held), *shared, *check_unknown_buckets(unknown, opener.settings)]


def _check_workers(workers: Sequence[WorkerEntry], settings: Settings) -> Iterator[Check]:
    """Yield a check if workers of the same queues have other routes than this configuration."""
    routes, queues = digest_routes(settings), digest_queues(settings)
    others = [each.id for each in workers if each.last.queues == queues and each.last.routes not in ("", routes)]
    if others:
        yield PLACE.unknown("workers", f"{', '.join(others[:SHOWN])}: other routes than this configuration", DIFFERENT)


def _held_deletes(counts: Mapping[str, int]) -> Iterator[Check]:
    for store, count in counts.items():
        yield CheckSubject("store", store).wrong(
            "held", f"{count:,} objects are missing, and their deletes are held", HELD
        )


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
