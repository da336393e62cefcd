"""`skyferry deletes`: list, approve and reject held deletes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Literal

from skyferry.cli.arguments.options import ConfigOptions, Json, PageOptions
from skyferry.cli.commands.ledger.selection import (
    PAGE,
    Ids,
    complete_ids,
    find_missing,
    query_ledger,
    read_ledger,
    report_count,
    require_selection,
)
from skyferry.cli.parameters import Option, build_group
from skyferry.cli.render import output
from skyferry.frozen import dataclass
from skyferry.ports import HeldFilter

if TYPE_CHECKING:
    from skyferry.ports import HeldDelete, HeldDeletes, Page


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


Store = Annotated[str, Option("--store", metavar="NAME", help="Only objects of this source store.")]
Route = Annotated[str, Option("--route", metavar="NAME", help="Only objects that this route has copied.")]
Reason = Annotated[HeldReason | None, Option("--reason", help="Only this reason.")]
Prefix = Annotated[str, Option("--prefix", metavar="TEXT", help="Only source keys with this prefix.")]
All = Annotated[bool, Option("--all", help="Select every held delete.")]


@dataclass(frozen=True, slots=True)
class HeldOptions:
    """The options that select held deletes."""

    store: Store = ""
    route: Route = ""
    reason: Reason = None
    prefix: Prefix = ""

    def select(self, state: Literal["held", "approved", "rejected"] | None) -> HeldFilter:
        """Return the filter."""
        return HeldFilter(state, self.store, self.route, self.reason or "", self.prefix)


def list_(
    *,
    state: Annotated[HeldState, Option("--state", help="Only this state.")] = HeldState.HELD,
    options: HeldOptions,
    paging: PageOptions,
    at: ConfigOptions,
    json: Json = False,
) -> None:
    """List held deletes, newest first, after a count by source.

    JSON: `items` and `cursor` ("" at the end) as in `GET /v1/deletes`; and `counts` of all that wait, each with `store`,
    `reason` and `count`.
    """
    where = options.select(state.value)

    async def ask(ledger: HeldDeletes) -> tuple[list[tuple[str, str, int]], Page[HeldDelete]]:
        return await ledger.count_held_deletes(), await ledger.list_held_deletes(where, paging.cursor, paging.limit)

    counts, page = read_ledger(at, ask)
    if json:
        from skyferry.server.models import HeldDeleteView

        grouped = [{"store": name, "reason": why, "count": count} for name, why, count in counts]
        items = [HeldDeleteView.model_validate(held).model_dump(mode="json") for held in page.items]
        output.print_json({"counts": grouped, "items": items, "cursor": page.cursor})
    else:
        _print_page(counts, page)


def approve(
    *,
    ids: Ids = None,
    all_: All = False,
    options: HeldOptions,
    at: ConfigOptions,
    json: Json = False,
) -> None:
    """Delete the copies, unless the source has the object again. A service does it, now or when it starts.

    Rejected deletes can be approved later. Approving a delete of a replaced source accepts the present folder as the source.

    JSON: `count`. Exit code 1 if there were none, or if one of the IDs does not exist.
    """
    where = options.select(None)
    require_selection(ids, all_, where != HeldFilter(None))
    count, missing = query_ledger(at, lambda ledger: _decide(ledger, ledger.approve_deletes, where, ids))
    report_count(count, "delete", "approved", json, "deletes list", missing)


def reject(
    *,
    ids: Ids = None,
    all_: All = False,
    options: HeldOptions,
    at: ConfigOptions,
    json: Json = False,
) -> None:
    """Keep the copies until the source has the object again.

    Rejecting a delete of a replaced source accepts the present folder as the source.

    JSON: `count`. Exit code 1 if there were none, or if one of the IDs does not exist.
    """
    where = options.select(None)
    require_selection(ids, all_, where != HeldFilter(None))
    count, missing = query_ledger(at, lambda ledger: _decide(ledger, ledger.reject_deletes, where, ids))
    report_count(count, "delete", "rejected", json, "deletes list", missing)


async def _decide(
    ledger: HeldDeletes,
    decision: Callable[[HeldFilter, Sequence[str] | None], Awaitable[int]],
    where: HeldFilter,
    given: Sequence[str] | None,
) -> tuple[int, list[str]]:
    ids = await _complete_deletes(ledger, given)
    known = await ledger.find_held_deletes(ids) if ids else set()
    return await decision(where, ids), find_missing(given, ids, known)


async def _complete_deletes(ledger: HeldDeletes, ids: Sequence[str] | None) -> list[str] | None:
    def load(cursor: str) -> Awaitable[Page[HeldDelete]]:
        return ledger.list_held_deletes(HeldFilter(None), cursor, PAGE)

    return await complete_ids(ids, load, attrgetter("id"))


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


SUMMARY = "Decide about held deletes: objects that are missing at their source."
group = build_group(SUMMARY, (list_, approve, reject))
