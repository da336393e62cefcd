"""`skyferry copy --delete`: delete what only the destination has, after everything has arrived."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from skyferry.cli.commands.objects.copying import preview
from skyferry.cli.render import output

if TYPE_CHECKING:
    from skyferry.cli.commands.objects.copying.request import CopyJob
    from skyferry.cli.render.copy_progress import CopyProgress
    from skyferry.discovery.absences.extraneous import Extraneous, MirrorEnds
    from skyferry.ports import ObjectStore


async def mirror(
    job: CopyJob, stores: Mapping[str, ObjectStore], progress: CopyProgress, stopped: Callable[[], bool]
) -> None:
    """Delete what only the destination has, or print it in a dry run. Nothing is deleted unless everything has arrived.

    No delete begins once it is `stopped`.
    """
    from skyferry.discovery.absences.extraneous import MirrorEnds, find_extraneous, open_spool

    if not progress.complete:
        print("nothing is deleted, because not everything has arrived", file=sys.stderr)
        return
    wildcard, takes = job.selection.wildcard, job.selection.takes
    start = job.destination.key
    ends = MirrorEnds(
        stores["source"],
        stores["destination"],
        progress.found.prefix,
        f"{start}{'/' if start and not start.endswith('/') else ''}",
        lambda key: takes(key) and (wildcard is None or wildcard.takes(key)),
    )
    with open_spool() as spool:
        await _mirror(job, ends, await find_extraneous(ends, spool), progress, stopped)


async def _mirror(
    job: CopyJob, ends: MirrorEnds, found: Extraneous, progress: CopyProgress, stopped: Callable[[], bool]
) -> None:
    from skyferry.discovery.absences.extraneous import delete_extraneous

    if reason := _explain_hold(job, found, progress.found.objects):
        progress.withheld = found.count
        print(f"{output.format_count(found.count, 'object')} not deleted: {reason}", file=sys.stderr)
    if job.dry_run:
        for key, size in found:
            preview.print_line("delete", key, size, job.shown)
        progress.deleted, progress.deleted_bytes = (0, 0) if reason else (found.count, found.bytes)
    elif not reason:
        await delete_extraneous(ends, found, progress.count_deleted, progress.count_rejected, stopped)


def _explain_hold(job: CopyJob, found: Extraneous, staying: int) -> str:
    """Return the reason not to delete, and what to do; "" if there is none."""
    assert job.max_deletes is not None  # or nothing is deleted
    match found.find_hold_reason(job.max_deletes, staying):
        case None:
            return ""
        case "limit":
            return (
                f"--max-delete allows fewer where {staying:,} stay. Look with --dry-run, then raise --max-delete, such "
                "as --max-delete none"
            )
        case _:
            return "the source has no objects. Check that it is the right one; if so, add --max-delete none"
