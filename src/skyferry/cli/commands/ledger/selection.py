"""Shared by the commands that select items of the ledger: dead letters, held deletes, transfers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from skyferry.cli import resources
from skyferry.cli.exit_codes import ExitCode
from skyferry.cli.render import output

if TYPE_CHECKING:
    from skyferry.ports import Ledger

T = TypeVar("T")
F = TypeVar("F")

Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Only these; or narrow the selection by options.")
]


def query_ledger(config: Path | None, workspace: Path | None, query: Callable[[Ledger], Awaitable[T]]) -> T:
    """Open the configured ledger, and return the result of `query`."""

    async def run() -> T:
        async with resources.open_ledger(resources.load_settings(config, workspace)) as ledger:
            return await query(ledger)

    return asyncio.run(run())


def require_selection(ids: list[str] | None, everything: bool, where: F, empty: F) -> F:
    """Return `where`. Raises BadParameter if nothing narrows the selection and --all is not given."""
    if not (ids or everything or where != empty):
        raise typer.BadParameter("the selection is empty: give IDs, options that narrow it, or --all")
    return where


def report_count(number: int, noun: str, done: str, json: bool) -> None:
    """Print how many items were affected. Exits with code 1 if there were none."""
    if json:
        output.print_json({"count": number})
    else:
        output.print_lines(f"{output.format_count(number, noun)} {done}")
    if not number:
        raise typer.Exit(ExitCode.FAILED)
