"""`skyferry dead-letters`: what was given up on, and what becomes of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from skyferry.cli import resources
from skyferry.cli.arguments.options import (
    ConfigFile,
    Cursor,
    Json,
    Limit,
    Prefix,
    Route,
    Since,
    SourceKey,
    Until,
    Workspace,
    moment,
)
from skyferry.cli.exit_codes import ExitCode
from skyferry.cli.render import output
from skyferry.errors import NotFound
from skyferry.ports import Filter

if TYPE_CHECKING:
    from skyferry.engine.dead_letters.redrive import RedriveCounts
    from skyferry.ports import DeadLetter, DeadLetters, Page

T = TypeVar("T")

app = typer.Typer(help="Look at what was given up on; process it again or discard it.", no_args_is_help=True)

Reason = Annotated[
    str, typer.Option("--reason", metavar="ERROR", help="Only those with this cause, e.g. permission_denied.")
]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="These; or narrow by options.")]
All = Annotated[bool, typer.Option("--all", help="Every dead letter there is.")]

Most = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="With --from-queue: how many at most.")]
FromQueue = Annotated[bool, typer.Option("--from-queue", help="Take them from the queue that `dead_letters` names.")]


@app.command("list")
def list_(
    route: Route = "",
    reason: Reason = "",
    prefix: Prefix = "",
    source_key: SourceKey = "",
    since: Since = "",
    until: Until = "",
    limit: Limit = 20,
    cursor: Cursor = "",
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """List dead letters, newest first, under a count of their causes.

    JSON: as `GET /v1/dead-letters` answers, `items` and `cursor` ("" at the end); `causes`, each with `route`, `reason`
    and `count`, of all there are; and `buckets`, each with `bucket` (provider://bucket) and `count`, of those with the reason
    `unrouted_bucket`.
    """
    where = Filter(None, route, prefix, source_key, reason, moment(since), moment(until))

    async def ask(ledger: DeadLetters) -> tuple[list[tuple[str, str, int]], list[tuple[str, int]], Page[DeadLetter]]:
        return (
            await ledger.count_dead_letters(),
            await ledger.count_unrouted(),
            await ledger.list_dead_letters(where, cursor, limit),
        )

    causes, buckets, page = _with_ledger(config, workspace, ask)
    if json:
        from skyferry.server.models import DeadLetterSummary

        grouped = [{"route": route, "reason": reason, "count": count} for route, reason, count in causes]
        items = [DeadLetterSummary.model_validate(letter).model_dump(mode="json") for letter in page.items]
        counted = [{"bucket": bucket, "count": count} for bucket, count in buckets]
        output.emit({"causes": grouped, "buckets": counted, "items": items, "cursor": page.cursor})
    else:
        _show(causes, buckets, page)


@app.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID")],
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Show one whole: every attempt, and the message.

    JSON: as `GET /v1/dead-letters/ID` answers.
    """

    async def ask(ledger: DeadLetters) -> DeadLetter:
        if (found := await ledger.get_dead_letter(letter_id)) is None:
            raise NotFound(
                "there is no such dead letter", where=letter_id, hint="`skyferry dead-letters list` tells which"
            )
        return found

    found = _with_ledger(config, workspace, ask)
    if json:
        from skyferry.server.models import DeadLetterView

        output.emit_model(DeadLetterView.from_letter(found))
    else:
        from skyferry.cli.render.history_text import describe_letter

        output.lines(*describe_letter(found))


@app.command()
def redrive(
    ids: Ids = None,
    route: Route = "",
    reason: Reason = "",
    prefix: Prefix = "",
    source_key: SourceKey = "",
    since: Since = "",
    until: Until = "",
    all_: All = False,
    from_queue: FromQueue = False,
    limit: Most = 1000,
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Process them again, with attempts counted from 1; a service does it, now or when it starts.

    With --from-queue, those that lie in the queue which `dead_letters` names: the ledger processes its letters again; what it
    does not know goes to the queue that it came from. They leave that queue when that is durable; what is no dead letter of
    Skyferry, not chosen, or given up on after the command began, stays there. Destination keys are not known there, so
    --prefix cannot choose.

    JSON: `count`, how many; with --from-queue also `redriven` (by the ledger), `sent` (to their queue), `stale` (copies of
    what was redriven before, removed) and `left` (that stay there). Exit code 1 if there were none.
    """
    if from_queue:
        from skyferry.cli.commands.ledger.from_queue import redrive_from_queue

        if prefix:
            raise typer.BadParameter("--prefix cannot be used with --from-queue")
        narrowed = Filter(None, route, "", source_key, reason, moment(since), moment(until or "0s"))
        _report_taken(asyncio.run(redrive_from_queue(config, workspace, narrowed, ids, limit)), json)
        return
    where = _where(ids, all_, Filter(None, route, prefix, source_key, reason, moment(since), moment(until)))
    _report("redriven", _with_ledger(config, workspace, lambda ledger: ledger.redrive(where, ids)), json)


@app.command()
def discard(
    ids: Ids = None,
    route: Route = "",
    reason: Reason = "",
    prefix: Prefix = "",
    source_key: SourceKey = "",
    since: Since = "",
    until: Until = "",
    all_: All = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Give them up for good: the messages are gone afterwards.

    JSON: `count`, how many. Exit code 1 if there were none.
    """
    where = _where(ids, all_, Filter(None, route, prefix, source_key, reason, moment(since), moment(until)))
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("nobody is there to be asked: give --yes")
        typer.confirm("Discard them for good?", abort=True)
    _report("discarded", _with_ledger(config, workspace, lambda ledger: ledger.discard(where, ids)), json)


def _with_ledger(config: Path | None, workspace: Path | None, ask: Callable[[DeadLetters], Awaitable[T]]) -> T:
    async def run() -> T:
        async with resources.opened_ledger(resources.load_settings(config, workspace)) as ledger:
            return await ask(ledger)

    return asyncio.run(run())


def _where(ids: list[str] | None, everything: bool, where: Filter) -> Filter:
    """Refuses to mean all by saying nothing."""
    if not (ids or everything or where != Filter()):
        raise typer.BadParameter("say which: IDs, options that narrow them, or --all")
    return where


def _report(what: str, number: int, json: bool) -> None:
    if json:
        output.emit({"count": number})
    else:
        output.lines(f"{output.count(number, 'dead letter')} {what}")
    if not number:
        raise typer.Exit(ExitCode.FAILED)


def _report_taken(found: RedriveCounts, json: bool) -> None:
    number = found.redriven + found.sent
    if json:
        output.emit({"count": number, **asdict(found)})
    else:
        output.lines(f"{output.count(number, 'dead letter')} redriven, {found.stale} stale, {found.left} left there")
    if not number:
        raise typer.Exit(ExitCode.FAILED)


def _show(causes: list[tuple[str, str, int]], buckets: list[tuple[str, int]], page: Page[DeadLetter]) -> None:
    if not causes:
        output.lines("there are no dead letters")
        return
    output.table(("count", "cause", "route"), ((str(count), reason, route) for route, reason, count in causes))
    if buckets:
        output.lines("")
        output.table(("count", "of a bucket that no store is"), ((str(count), bucket) for bucket, count in buckets))
    columns = ("given up", "cause", "from", "tries", "id")
    rows = ((output.when(e.at), e.reason, e.source or e.queue, str(len(e.attempts)), e.id) for e in page.items)
    output.lines("")
    output.table(columns, rows)
    if page.cursor:
        output.lines(f"more with --cursor {page.cursor}")
