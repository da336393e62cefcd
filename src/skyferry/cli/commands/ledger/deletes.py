"""`skyferry deletes`: list, approve and reject held deletes."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from skyferry.cli.arguments.options import ConfigFile, Cursor, Json, Limit, Workspace
from skyferry.cli.commands.ledger.selection import Ids, query_ledger, report_count, require_selection
from skyferry.cli.render import output
from skyferry.ports import HeldFilter

if TYPE_CHECKING:
    from skyferry.ports import HeldDelete, HeldDeletes, Page

app = typer.Typer(help="Decide about held deletes: objects that are missing at their source.", no_args_is_help=True)


class HeldState(StrEnum):
    """The states of a held delete."""

    HELD = "held"
    APPROVED = "approved"
    REJECTED = "rejected"


class HeldReason(StrEnum):
    """The reasons for holding a delete."""

    LIMIT = "limit"
    EMPTY = "empty"
    REPLACED = "replaced"


Store = Annotated[str, typer.Option("--store", metavar="NAME", help="Only objects of this source store.")]
Route = Annotated[str, typer.Option("--route", metavar="NAME", help="Only objects that this route has copied.")]
Reason = Annotated[HeldReason | None, typer.Option("--reason", help="Only this reason.")]
Prefix = Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Only source keys with this prefix.")]
All = Annotated[bool, typer.Option("--all", help="Select every held delete.")]


@app.command("list")
def list_(
    store: Store = "",
    route: Route = "",
    reason: Reason = None,
    prefix: Prefix = "",
    state: Annotated[HeldState, typer.Option("--state", help="Only this state.")] = HeldState.HELD,
    limit: Limit = 20,
    cursor: Cursor = "",
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """List held deletes, newest first, after a count by source.

    JSON: `items` and `cursor` ("" at the end) as in `GET /v1/deletes`; and `counts` of all that wait, each with `store`,
    `reason` and `count`.
    """
    where = HeldFilter(state.value, store, route, reason.value if reason else "", prefix)

    async def ask(ledger: HeldDeletes) -> tuple[list[tuple[str, str, int]], Page[HeldDelete]]:
        return await ledger.count_held_deletes(), await ledger.list_held_deletes(where, cursor, limit)

    counts, page = query_ledger(config, workspace, ask)
    if json:
        from skyferry.server.models import HeldDeleteView

        grouped = [{"store": name, "reason": why, "count": count} for name, why, count in counts]
        items = [HeldDeleteView.model_validate(held).model_dump(mode="json") for held in page.items]
        output.print_json({"counts": grouped, "items": items, "cursor": page.cursor})
    else:
        _print_page(counts, page)


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
    """Delete the copies, unless the source has the object again. A service does it, now or when it starts.

    Rejected deletes can be approved later. Approving a delete of a replaced source accepts the present folder as the source.

    JSON: `count`. Exit code 1 if there were none.
    """
    where = HeldFilter(None, store, route, reason.value if reason else "", prefix)
    require_selection(ids, all_, where, HeldFilter(None))
    count = query_ledger(config, workspace, lambda ledger: ledger.approve_deletes(where, ids))
    report_count(count, "delete", "approved", json)


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
    """Keep the copies until the source has the object again.

    Rejecting a delete of a replaced source accepts the present folder as the source.

    JSON: `count`. Exit code 1 if there were none.
    """
    where = HeldFilter(None, store, route, reason.value if reason else "", prefix)
    require_selection(ids, all_, where, HeldFilter(None))
    count = query_ledger(config, workspace, lambda ledger: ledger.reject_deletes(where, ids))
    report_count(count, "delete", "rejected", json)


def _print_page(counts: list[tuple[str, str, int]], page: Page[HeldDelete]) -> None:
    if not counts and not page.items:
        output.print_lines("no held deletes")
        return
    output.print_table(("count", "reason", "source"), ((str(count), why, store) for store, why, count in counts))
    columns = ("missing since", "reason", "object", "routes", "id")
    rows = (
        (output.format_time(h.at), h.reason, f"{h.store} {h.source.key}", ", ".join(h.routes), h.id) for h in page.items
    )
    output.print_lines("")
    output.print_table(columns, rows)
    if page.cursor:
        output.print_lines(f"next page: --cursor {page.cursor}")
