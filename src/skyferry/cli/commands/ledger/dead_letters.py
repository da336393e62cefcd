"""`skyferry dead-letters`: list, redrive and discard dead letters."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import click

from skyferry.cli.arguments.options import ConfigOptions, Json, PageOptions
from skyferry.cli.commands.ledger.selection import (
    Ids,
    TransferOptions,
    complete_letters,
    find_missing,
    query_ledger,
    read_ledger,
    report_count,
    require_selection,
)
from skyferry.cli.parameters import Argument, Option, build_group, format_command
from skyferry.cli.render import output
from skyferry.errors import NotFound
from skyferry.ports import Filter

if TYPE_CHECKING:
    from skyferry.engine.dead_letters.redrive import RedriveCounts
    from skyferry.ports import DeadLetter, DeadLetters, Page

Reason = Annotated[str, Option("--reason", metavar="ERROR", help="Only this kind of error, such as permission_denied.")]
All = Annotated[bool, Option("--all", help="Select every dead letter.")]

Most = Annotated[int, Option("--limit", metavar="N", min=1, help="With --from-queue: the maximum number.")]
FromQueue = Annotated[bool, Option("--from-queue", help="Take them from the configured dead-letter queue.")]


def list_(
    *,
    reason: Reason = "",
    options: TransferOptions,
    paging: PageOptions,
    at: ConfigOptions,
    json: Json = False,
) -> None:
    """List dead letters, newest first, after a count by cause.

    JSON: `items` and `cursor` ("" at the end) as in `GET /v1/dead-letters`; `causes` of all dead letters, each with `route`,
    `reason` and `count`; and `buckets` of those with the reason `unrouted_bucket`, each with `bucket` (provider://bucket) and
    `count`.
    """
    where = options.select(None, reason)

    async def ask(ledger: DeadLetters) -> tuple[list[tuple[str, str, int]], list[tuple[str, int]], Page[DeadLetter]]:
        return (
            await ledger.count_dead_letters(),
            await ledger.count_unrouted(),
            await ledger.list_dead_letters(where, paging.cursor, paging.limit),
        )

    causes, buckets, page = read_ledger(at, ask, where)
    if json:
        from skyferry.server.models import DeadLetterSummary

        grouped = [{"route": route, "reason": reason, "count": count} for route, reason, count in causes]
        items = [DeadLetterSummary.model_validate(letter).model_dump(mode="json") for letter in page.items]
        counted = [{"bucket": bucket, "count": count} for bucket, count in buckets]
        output.print_json({"causes": grouped, "buckets": counted, "items": items, "cursor": page.cursor})
    else:
        _print_page(causes, buckets, page)


def show(
    *,
    letter_id: Annotated[str, Argument(metavar="ID")],
    at: ConfigOptions,
    json: Json = False,
) -> None:
    """Show one dead letter with every attempt and its message.

    JSON: as in `GET /v1/dead-letters/ID`.
    """

    async def ask(ledger: DeadLetters) -> DeadLetter:
        ids = await complete_letters(ledger, [letter_id])
        if (found := await ledger.get_dead_letter(*ids)) is None:
            raise NotFound(
                "the dead letter does not exist",
                where=letter_id,
                hint=f"`{format_command('dead-letters list')}` shows the ids",
            )
        return found

    found = read_ledger(at, ask)
    if json:
        from skyferry.server.models import DeadLetterView

        output.print_model(DeadLetterView.from_letter(found))
    else:
        from skyferry.cli.render.history_text import describe_letter

        output.print_lines(*describe_letter(found))


def redrive(
    *,
    ids: Ids = None,
    reason: Reason = "",
    all_: All = False,
    from_queue: FromQueue = False,
    limit: Most = 1000,
    options: TransferOptions,
    at: ConfigOptions,
    json: Json = False,
) -> None:
    """Process dead letters again, with attempts counted from 1. A service does it, now or when it starts.

    With --from-queue, take them from the configured dead-letter queue. Letters that the ledger knows are redriven there;
    others are sent to the queue that they came from. A message leaves the dead-letter queue once that is durable. Messages
    stay there if they are not dead letters of Skyferry, are not selected, or failed after the command began. Destination keys
    are unknown there, so --prefix cannot be used.

    JSON: `count`; with --from-queue also `redriven` (by the ledger), `sent` (to their queue), `stale` (copies of letters that
    were redriven before, removed) and `left` (in the dead-letter queue). Exit code 1 if there were none, or if one
    of the IDs does not exist or is not in the queue.
    """
    if from_queue:
        from skyferry.cli.commands.ledger.from_queue import redrive_from_queue

        if options.prefix:
            raise click.BadParameter("--prefix cannot be used with --from-queue: destination keys are unknown there")
        narrowed = options.select(None, reason, until=options.until or "0s")
        _report_redrive(*asyncio.run(redrive_from_queue(at, narrowed, ids, limit)), json)
        return
    where = options.select(None, reason)
    require_selection(ids, all_, where != Filter())
    count, missing = query_ledger(at, lambda ledger: _redrive(ledger, where, ids), where)
    report_count(count, "dead letter", "redriven", json, "dead-letters list", missing)


def discard(
    *,
    ids: Ids = None,
    reason: Reason = "",
    all_: All = False,
    yes: Annotated[bool, Option("--yes", help="Do not ask for confirmation.")] = False,
    options: TransferOptions,
    at: ConfigOptions,
    json: Json = False,
) -> None:
    """Delete dead letters and their messages for good.

    JSON: `count`. Exit code 1 if there were none, or if one of the IDs does not exist.
    """
    where = options.select(None, reason)
    require_selection(ids, all_, where != Filter())
    if not yes:
        if not sys.stdin.isatty():
            raise click.BadParameter("confirmation is not possible without a terminal: give --yes")
        click.confirm("Delete them for good?", abort=True)
    count, missing = query_ledger(at, lambda ledger: _discard(ledger, where, ids), where)
    report_count(count, "dead letter", "discarded", json, "dead-letters list", missing)


async def _redrive(ledger: DeadLetters, where: Filter, given: Sequence[str] | None) -> tuple[int, list[str]]:
    ids = await complete_letters(ledger, given)
    missing = await _find_missing(ledger, given, ids)
    return await ledger.redrive(where, ids or None), missing


async def _discard(ledger: DeadLetters, where: Filter, given: Sequence[str] | None) -> tuple[int, list[str]]:
    ids = await complete_letters(ledger, given)
    missing = await _find_missing(ledger, given, ids)
    return await ledger.discard(where, ids or None), missing


async def _find_missing(ledger: DeadLetters, given: Sequence[str] | None, ids: Sequence[str]) -> list[str]:
    known = {each for each in ids if await ledger.get_dead_letter(each) is not None}
    return find_missing(given, ids, known)


def _report_redrive(found: RedriveCounts, missing: Sequence[str], json: bool) -> None:
    number = found.redriven + found.sent
    if json:
        output.print_json({"count": number, **asdict(found)})
    else:
        output.print_lines(
            f"{output.format_count(number, 'dead letter')} redriven, {found.stale} stale, {found.left} left in the queue"
        )
    if missing:
        words = "is not" if len(missing) == 1 else "are not"
        raise NotFound(
            f"{output.format_count(len(missing), 'dead letter')} {words} in what was read of the queue",
            where=", ".join(missing),
            hint=f"`{format_command('dead-letters list')}` shows the ids; --limit reads more",
        )
    if not number:
        raise NotFound("no dead letter in the queue is selected", hint="`skyferry status` shows what there is")


def _print_page(causes: list[tuple[str, str, int]], buckets: list[tuple[str, int]], page: Page[DeadLetter]) -> None:
    if not causes:
        output.print_lines("no dead letters")
        return
    output.print_table(("count", "cause", "route"), ((str(count), reason, route) for route, reason, count in causes))
    if buckets:
        output.print_lines("")
        output.print_table(("count", "bucket without a store"), ((str(count), bucket) for bucket, count in buckets))
    columns = ("failed at", "cause", "source", "attempts", "id")
    rows = ((output.format_time(e.at), e.reason, e.source or e.queue, str(len(e.attempts)), e.id) for e in page.items)
    output.print_lines("")
    output.print_table(columns, rows)
    if page.cursor:
        output.print_lines(f"next page: --cursor {page.cursor}")


group = build_group("List dead letters, process them again, or discard them.", (list_, show, redrive, discard))
