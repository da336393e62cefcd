"""The output of `skyferry copy --dry-run`: a line for each copy, update and delete."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from skyferry.cli.render import output

if TYPE_CHECKING:
    from skyferry.cli.commands.objects.copying.request import OutputOptions
    from skyferry.cli.render.copy_progress import CopyProgress
    from skyferry.discovery.listing import PlannedCopy
    from skyferry.ports import ObjectStore

LOOKS = 16  # objects that are looked at together


def print_copies(
    stores: Mapping[str, ObjectStore], progress: CopyProgress, shown: OutputOptions
) -> Callable[[Sequence[PlannedCopy]], Awaitable[None]]:
    """Return a function that prints and counts the copies that would be made."""

    async def show(copies: Sequence[PlannedCopy]) -> None:
        for start in range(0, len(copies), LOOKS):
            some = copies[start : start + LOOKS]
            present = await asyncio.gather(*(_has_copy(stores, copy) for copy in some))
            for copy, same in zip(some, present, strict=True):
                if same:
                    progress.present += 1
                    continue
                progress.copied += 1
                progress.copied_bytes += copy.source.size
                print_line("update" if copy.there else "copy", copy.to.key, copy.source.size, shown)

    return show


def print_line(word: str, key: str, size: int, shown: OutputOptions) -> None:
    """Print what would be done with one key."""
    if not (shown.json or shown.quiet):
        output.print_lines(f"{word:<6}  {output.format_size(size):>10}  {output.escape_control(key)}")


def print_summary(progress: CopyProgress) -> None:
    """Print the counts of a run that did nothing."""
    progress.dry = True
    progress.print_summary()


async def _has_copy(stores: Mapping[str, ObjectStore], copy: PlannedCopy) -> bool:
    """Return True if the object at the destination says that it is a copy of this version, which the ledger does not know."""
    from skyferry.engine.copy.provenance import format_source, read_provenance
    from skyferry.engine.copy.verify import find_object

    if copy.there is None or copy.known or copy.there.size != copy.source.size:
        return False
    found, there = await asyncio.gather(
        find_object(stores["source"], copy.source.key), find_object(stores["destination"], copy.to.key)
    )
    if found is None or there is None:
        return False
    provenance = read_provenance(there)
    return provenance.source == format_source(copy.ref) and provenance.version == found.version
