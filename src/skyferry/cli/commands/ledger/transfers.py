"""`skyferry transfers`: what the ledger remembers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from skyferry.cli.render import output
from skyferry.errors import NotFound
from skyferry.model import State
from skyferry.ports import Filter

if TYPE_CHECKING:
    from skyferry.ports import Page, TransferRow


def transfers(
    transfer_id: Annotated[
        str, typer.Argument(metavar="[ID]", help="Only this one, with its failures.", show_default=False)
    ] = "",
    state: Annotated[State | None, typer.Option(metavar="|".join(State), help="Only in this state.")] = None,
    route: Route = "",
    prefix: Prefix = "",
    source_key: SourceKey = "",
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Only skipped for this reason.")] = "",
    since: Since = "",
    until: Until = "",
    limit: Limit = 20,
    cursor: Cursor = "",
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """List transfers, the one that changed last first; also while no service runs.

    JSON: as `GET /v1/transfers` answers, `items` and `cursor` ("" at the end); with an ID, as `GET /v1/transfers/ID`.
    """
    where = Filter(state, route, prefix, source_key, reason, moment(since), moment(until))
    if transfer_id:
        _show_one(asyncio.run(_one(config, workspace, transfer_id)), json)
    else:
        _show_page(asyncio.run(_page(config, workspace, where, cursor, limit)), json)


async def _one(config: Path | None, workspace: Path | None, transfer_id: str) -> TransferRow:
    async with resources.opened_ledger(resources.load_settings(config, workspace)) as ledger:
        if (row := await ledger.get_transfer(transfer_id)) is None:
            raise NotFound(
                "there is no such transfer", where=transfer_id, hint="settled ones are forgotten after ledger.retention"
            )
        return row


async def _page(
    config: Path | None, workspace: Path | None, where: Filter, cursor: str, limit: int
) -> Page[TransferRow]:
    async with resources.opened_ledger(resources.load_settings(config, workspace)) as ledger:
        return await ledger.list_transfers(where, cursor, limit)


def _show_one(row: TransferRow, json: bool) -> None:
    if json:
        from skyferry.server.models import TransferView

        output.emit_model(TransferView.from_row(row))
        return
    from skyferry.cli.render.history_text import describe_transfer

    output.lines(*describe_transfer(row))


def _show_page(page: Page[TransferRow], json: bool) -> None:
    if json:
        from skyferry.server.models import TransferPage, TransferSummary

        output.emit_model(TransferPage(items=[TransferSummary.from_row(row) for row in page.items], cursor=page.cursor))
        return
    columns = ("changed", "state", "route", "key", "size", "attempts", "id")
    output.table(columns, (_cells(row) for row in page.items))
    if page.cursor:
        output.lines(f"more with --cursor {page.cursor}")


def _cells(row: TransferRow) -> tuple[str, ...]:
    t, receipt = row.transfer, row.receipt
    state = f"{row.state}: {row.reason}" if row.reason else str(row.state)
    size = output.size(receipt.size if receipt else t.size)
    return output.when(row.updated_at), state, t.route, t.key, size, str(row.attempts), t.id
