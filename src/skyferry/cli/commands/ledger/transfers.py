"""`skyferry transfers`: list the transfers in the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from skyferry.cli.arguments.options import ConfigOptions, Json, PageOptions
from skyferry.cli.commands.ledger.selection import TransferOptions, complete_transfer, read_ledger
from skyferry.cli.parameters import Argument, Option
from skyferry.cli.render import output
from skyferry.errors import NotFound
from skyferry.model import State

if TYPE_CHECKING:
    from skyferry.ports import Page, TransferRow, Transfers


def transfers(
    *,
    transfer_id: Annotated[
        str, Argument(metavar="[ID]", help="This transfer, with its failures; the id may be abbreviated.")
    ] = "",
    state: Annotated[State | None, Option("--state", metavar="|".join(State), help="Only this state.")] = None,
    reason: Annotated[str, Option("--reason", metavar="TEXT", help="Only transfers skipped for this reason.")] = "",
    options: TransferOptions,
    paging: PageOptions,
    at: ConfigOptions,
    json: Json = False,
) -> None:
    """List transfers, the most recently updated first.

    JSON: `items` and `cursor` ("" at the end) as in `GET /v1/transfers`; with an ID, as in `GET /v1/transfers/ID`.
    """
    where = options.select(state, reason)
    if transfer_id:
        row = read_ledger(at, lambda ledger: _get_transfer(ledger, transfer_id))
        _print_transfer(row, json)
    else:
        page = read_ledger(at, lambda ledger: ledger.list_transfers(where, paging.cursor, paging.limit), where)
        _print_page(page, json)


async def _get_transfer(ledger: Transfers, transfer_id: str) -> TransferRow:
    if (row := await ledger.get_transfer(await complete_transfer(ledger, transfer_id))) is None:
        hint = "settled transfers are removed after `ledger.retention`"
        raise NotFound("the transfer does not exist", where=transfer_id, hint=hint)
    return row


def _print_transfer(row: TransferRow, json: bool) -> None:
    if json:
        from skyferry.server.models import TransferView

        output.print_model(TransferView.from_row(row))
        return
    from skyferry.cli.render.history_text import describe_transfer

    output.print_lines(*describe_transfer(row))


def _print_page(page: Page[TransferRow], json: bool) -> None:
    if json:
        from skyferry.server.models import TransferPage, TransferSummary

        output.print_model(
            TransferPage(items=[TransferSummary.from_row(row) for row in page.items], cursor=page.cursor)
        )
        return
    columns = ("updated", "state", "route", "key", "size", "attempts", "id")
    output.print_table(columns, (_format_row(row) for row in page.items))
    if page.cursor:
        output.print_lines(f"next page: --cursor {page.cursor}")


def _format_row(row: TransferRow) -> tuple[str, ...]:
    t, receipt = row.transfer, row.receipt
    state = f"{row.state}: {row.reason}" if row.reason else str(row.state)
    size = output.format_size(receipt.size if receipt else t.size)
    return output.format_time(row.updated_at), state, t.route, t.key, size, str(row.attempts), t.id
