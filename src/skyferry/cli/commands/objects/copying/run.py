"""Copy from a listing, through the engine; with `--dry-run` print what would be done."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from skyferry.cli.commands.objects.copying import preview
from skyferry.cli.commands.objects.copying.mirror import mirror
from skyferry.cli.commands.objects.copying.request import NOTHING, CopyJob
from skyferry.cli.event_loop import tune_collector
from skyferry.cli.exit_codes import ExitCode
from skyferry.cli.render import output, stalls
from skyferry.cli.signals import handle_signals

if TYPE_CHECKING:
    from pathlib import Path

    from skyferry.cli.commands.objects.copying.processes import SharedCopy
    from skyferry.cli.render.copy_progress import CopyProgress
    from skyferry.discovery.listing import ListingSource
    from skyferry.engine.service import Service
    from skyferry.ports import EventQueue, ObjectStore
    from skyferry.processes.pool import PoolJob, WorkerPool
    from skyferry.processes.spares import SpareProcesses
    from skyferry.wiring import SourceContext
    from skyferry.wiring.copy_ledgers import CopyLedger

SHORT = 0.1  # seconds in which a copy stays in one process, whatever there is to do


async def run_copy(
    job: CopyJob, ledger: CopyLedger | None, shared: SharedCopy | None = None, spares: SpareProcesses | None = None
) -> ExitCode:
    """Copy, delete, and print the results. Without a ledger, it is in memory.

    `shared`: what other processes do. `spares`: those that wait in case the copy grows.
    """
    from skyferry.cli.render.copy_progress import CopyProgress, show_progress

    progress = CopyProgress(job.shown.verbose, job.shown.quiet)
    stores: dict[str, ObjectStore] = {}
    async with AsyncExitStack() as stack:
        pools = [_open_pool(shared.pool, progress)] if shared else []
        open_queue = job.make_queue()
        queues = (shared.queue if shared else open_queue(),)
        building = _build_service(job, ledger, progress, stores, pools[0] if pools else None, queues)
        service = await stack.enter_async_context(building)
        interrupted = stack.enter_context(handle_signals(partial(drain, service), partial(_kill, pools)))
        tune_collector()
        async with show_progress(progress, job.shown.shows_progress(sys.stderr.isatty()) and not job.dry_run):
            growing: AbstractAsyncContextManager[None] = nullcontext()
            if job.grows and ledger and not job.dry_run:
                growing = _let_grow(service, job, ledger.path, progress, open_queue, pools, spares)
            async with growing:
                records = await stalls.run_service(service, progress.stalls, progress.found, job.patience)
            for record in records:
                progress.on(record)
            if job.max_deletes is not None and not interrupted:
                await mirror(job, stores, progress, lambda: bool(interrupted))
    if job.destination.store.url == NOTHING:
        progress.lossy = ""  # it says nothing of the store that will be there
    if not job.shown.quiet:
        for name in job.selection.folder_names:
            what = f"--exclude {name!r} excludes nothing in the folder of this name: write '{name}/' for that"
            print(what, file=sys.stderr)
    if job.shown.json:
        output.print_json({**progress.to_document(job.source.text, job.destination.text), "dry_run": job.dry_run})
    elif job.dry_run:
        preview.print_summary(progress)
    else:
        progress.print_summary()
    if interrupted:
        print("interrupted; run the same command again to continue", file=sys.stderr)
        return ExitCode.INTERRUPTED
    if progress.stalls.ended:
        return ExitCode.UNREACHABLE
    return ExitCode.OK if progress.complete else ExitCode.DEAD_LETTERS


@asynccontextmanager
async def _let_grow(
    service: Service,
    job: CopyJob,
    ledger: Path,
    progress: CopyProgress,
    open_queue: Callable[[], EventQueue],
    pools: list[WorkerPool],
    spares: SpareProcesses | None,
) -> AsyncIterator[None]:
    """Let the copy go on in several processes inside, once that pays. A short copy imports nothing for it."""

    async def grow() -> None:
        await asyncio.sleep(SHORT)
        while not service.worker.arrivals:  # nothing to copy so far  # noqa: ASYNC110 - no event shows the first
            await asyncio.sleep(SHORT)
        from skyferry.cli.commands.objects.copying.processes import grow_copy

        await grow_copy(service, job, ledger, progress, open_queue, pools, spares)

    task = asyncio.create_task(grow(), name="grow")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.result()


def _kill(pools: Sequence[WorkerPool]) -> None:
    for pool in pools:
        pool.kill()


def _open_pool(shared: PoolJob, progress: CopyProgress) -> WorkerPool:
    from skyferry.cli.commands.objects.copying.processes import open_copy_pool

    return open_copy_pool(shared, progress)


def _build_service(
    job: CopyJob,
    ledger: CopyLedger | None,
    progress: CopyProgress,
    stores: dict[str, ObjectStore],
    pool: WorkerPool | None = None,
    queues: Sequence[EventQueue] = (),
) -> AbstractAsyncContextManager[Service]:
    from skyferry.discovery.listing import CopyEnds, CopyPorts, ListingSource, PlannedCopy
    from skyferry.engine.contents import have_same_content
    from skyferry.engine.copy.digests import ThreadOffload
    from skyferry.wiring import build_service, wait_out_outages
    from skyferry.wiring.copy_ledgers import mark_doubted

    one_store = job.source.identity == job.destination.identity
    ends = CopyEnds(job.source.ref, job.destination.ref, one_store=one_store)

    async def same(copy: PlannedCopy) -> bool:
        source, destination = stores["source"], stores["destination"]
        return await have_same_content(source, copy.source.key, destination, copy.to.key, ThreadOffload())

    def find(parts: SourceContext) -> Sequence[ListingSource]:
        stores.update({name: wait_out_outages(store, job.patience) for name, store in parts.stores.items()})
        ports = CopyPorts(
            source=stores["source"],
            destination=stores["destination"],
            ledger=parts.context.ledger,
            queue=parts.queue,
            clock=parts.context.clock,
            doubt=mark_doubted,
            refuse=progress.count_rejected,
            same=same,
            preview=preview.print_copies(stores, progress, job.shown) if job.dry_run else None,
        )
        return [ListingSource(ends, ports, progress.found, job.selection)]

    limited = stalls.limit_request_time(job.settings, job.patience)
    return build_service(limited, progress, find=find, ledger=ledger, queues=queues, pool=pool, expected=job.folders)


def drain(service: Service) -> None:
    """End the copy after the transfers in flight, and say so."""
    text = "ending: what is in flight is completed first; the same signal again ends at once"
    print(text, file=sys.stderr, flush=True)
    service.drain()
