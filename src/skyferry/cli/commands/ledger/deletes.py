"""`skyferry deletes`: what is missing at its source, and what becomes of its copies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from skyferry.cli import resources
from skyferry.cli.arguments.options import ConfigFile, Cursor, Json, Limit, Workspace
from skyferry.cli.exit_codes import ExitCode
from skyferry.cli.render import output
from skyferry.ports import HeldFilter

if TYPE_CHECKING:
    from skyferry.ports import HeldDelete, HeldDeletes, Page

T = TypeVar("T")

app = typer.Typer(
    help="Decide about deletes that are held: objects that are missing at their source.", no_args_is_help=True
)


class Decided(StrEnum):
    """The states of a held delete."""

    HELD = "held"
    APPROVED = "approved"
    REJECTED = "rejected"


class Why(StrEnum):
    """Why a delete is held."""

    LIMIT = "limit"
    EMPTY = "empty"
    REPLACED = "replaced"


Store = Annotated[str, typer.Option("--store", metavar="NAME", help="Only of this source.")]
Route = Annotated[str, typer.Option("--route", metavar="NAME", help="Only where this route has made a copy.")]
Reason = Annotated[Why | None, typer.Option("--reason", help="Only those held for this reason.")]
Prefix = Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Only where the source key begins with this.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="These; or narrow by options.")]
All = Annotated[bool, typer.Option("--all", help="Every held delete there is.")]


@app.command("list")
def list_(
    store: Store = "",
    route: Route = "",
    reason: Reason = None,
    prefix: Prefix = "",
    state: Annotated[Decided, typer.Option("--state", help="Those that stand so.")] = Decided.HELD,
    limit: Limit = 20,
    cursor: Cursor = "",
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """List held deletes, the latest first, under a count by source.

    JSON: as `GET /v1/deletes` answers, `items` and `cursor` ("" at the end); and `counts`, each with `store`, `reason` and
    `count`, of all that wait.
    """
    where = HeldFilter(state.value, store, route, reason.value if reason else "", prefix)

    async def ask(ledger: HeldDeletes) -> tuple[list[tuple[str, str, int]], Page[HeldDelete]]:
        return await ledger.count_held_deletes(), await ledger.list_held_deletes(where, cursor, limit)

    counts, page = _with_ledger(config, workspace, ask)
    if json:
        from skyferry.server.models import HeldDeleteView

        grouped = [{"store": name, "reason": why, "count": count} for name, why, count in counts]
        items = [HeldDeleteView.model_validate(held).model_dump(mode="json") for held in page.items]
        output.emit({"counts": grouped, "items": items, "cursor": page.cursor})
    else:
        _show(counts, page)


@app.command()
def approve(
    ids: Ids = None,
    store: Store = "",
    route: Route = "",
    reason: Reason = None,
    prefix: Prefix = "",
    all_: All = False,
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Delete the copies; a service does it, now or when it starts. What the source has again by then is not deleted.

    Rejected ones may be approved, too. Where a source had been replaced, what is there now is the source from then on.

    JSON: `count`, how many. Exit code 1 if there were none.
    """
    where = _where(ids, all_, HeldFilter(None, store, route, reason.value if reason else "", prefix))
    _report("approved", _with_ledger(config, workspace, lambda ledger: ledger.approve_deletes(where, ids)), json)


@app.command()
def reject(
    ids: Ids = None,
    store: Store = "",
    route: Route = "",
    reason: Reason = None,
    prefix: Prefix = "",
    all_: All = False,
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Keep the copies, until the source has the object again.

    Where a source had been replaced, what is there now is the source from then on.

    JSON: `count`, how many. Exit code 1 if there were none.
    """
    where = _where(ids, all_, HeldFilter(None, store, route, reason.value if reason else "", prefix))
    _report("rejected", _with_ledger(config, workspace, lambda ledger: ledger.reject_deletes(where, ids)), json)


def _with_ledger(config: Path | None, workspace: Path | None, ask: Callable[[HeldDeletes], Awaitable[T]]) -> T:
    async def run() -> T:
        async with resources.opened_ledger(resources.load_settings(config, workspace)) as ledger:
            return await ask(ledger)

    return asyncio.run(run())


def _where(ids: list[str] | None, everything: bool, where: HeldFilter) -> HeldFilter:
    """Refuse to mean all by saying nothing."""
    if not (ids or everything or where != HeldFilter(None)):
        raise typer.BadParameter("say which: IDs, options that narrow them, or --all")
    return where


def _report(what: str, number: int, json: bool) -> None:
    if json:
        output.emit({"count": number})
    else:
        output.lines(f"{output.count(number, 'delete')} {what}")
    if not number:
        raise typer.Exit(ExitCode.FAILED)


def _show(counts: list[tuple[str, str, int]], page: Page[HeldDelete]) -> None:
    if not counts and not page.items:
        output.lines("there are no held deletes")
        return
    output.table(("count", "reason", "source"), ((str(count), why, store) for store, why, count in counts))
    columns = ("missing since", "reason", "object", "routes", "id")
    rows = ((output.when(h.at), h.reason, f"{h.store} {h.source.key}", ", ".join(h.routes), h.id) for h in page.items)
    output.lines("")
    output.table(columns, rows)
    if page.cursor:
        output.lines(f"more with --cursor {page.cursor}")
