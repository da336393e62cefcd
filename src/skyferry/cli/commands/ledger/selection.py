"""Shared by the commands that select items of the ledger: dead letters, held deletes, transfers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import click

from skyferry.cli import resources
from skyferry.cli.arguments.options import ConfigOptions, parse_moment
from skyferry.cli.parameters import Argument, Option, format_command
from skyferry.cli.render import output
from skyferry.errors import ConfigError, NotFound, list_kinds
from skyferry.frozen import dataclass
from skyferry.model import State
from skyferry.ports import Filter

if TYPE_CHECKING:
    from skyferry.ports import DeadLetter, DeadLetters, Ledger, Page, Transfers

ID_LENGTH = 32
PAGE = 1000
# Reasons for which transfers are skipped
SKIPS = ("current", "superseded", "marker", "gone", "filtered", "foreign", "loop", "hops", "no_route")
MANY = 1000  # candidates that are counted
CANDIDATES = 5  # shown of an ambiguous abbreviation
T = TypeVar("T")

Ids = Annotated[
    list[str] | None,
    Argument(metavar="[ID]...", help="Only these (abbreviated, too); or use options."),
]

RouteName = Annotated[str, Option("--route", metavar="NAME", help="Only this route.")]
Prefix = Annotated[str, Option("--prefix", metavar="TEXT", help="Only destination keys with this prefix.")]
SourceKey = Annotated[str, Option("--source-key", metavar="KEY", help="Only this source key.")]
Since = Annotated[
    str,
    Option("--since", metavar="WHEN", help="Only updates since a time (RFC 3339), or since 2h for two hours ago."),
]
Until = Annotated[str, Option("--until", metavar="WHEN", help="Only updates before a time.")]


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """The options that select transfers or dead letters."""

    route: RouteName = ""
    prefix: Prefix = ""
    source_key: SourceKey = ""
    since: Since = ""
    until: Until = ""

    def select(self, state: State | None, reason: str, **changes: str) -> Filter:
        """Return the filter; `changes` replace options."""
        o = replace(self, **changes)
        since, until = parse_moment(o.since, "--since"), parse_moment(o.until, "--until")
        if since is not None and until is not None and since >= until and not changes:
            raise click.BadParameter("--since is not before --until, so nothing is selected")
        return Filter(state, o.route, o.prefix, o.source_key, reason, since, until)


def read_ledger(at: ConfigOptions, query: Callable[[Ledger], Awaitable[T]], where: Filter | None = None) -> T:
    """Return the result of a `query` that only reads."""
    return query_ledger(at, query, where, reads=True)


def query_ledger(
    at: ConfigOptions, query: Callable[[Ledger], Awaitable[T]], where: Filter | None = None, *, reads: bool = False
) -> T:
    """Open the configured ledger, and return the result of `query`. Warn of names in its filter, `where`, that are unknown."""

    async def run() -> T:
        settings = at.load()
        if where is not None:
            _warn_unknown("--route", where.route, [route.name for route in settings.routes])
            _warn_unknown("--reason", where.reason, [*SKIPS, *list_kinds()])
        async with resources.open_ledger(settings, reads=reads) as ledger:
            return await query(ledger)

    return asyncio.run(run())


def _warn_unknown(option: str, name: str, known: Collection[str]) -> None:
    """Print a warning, and no error: the ledger may have items of a former configuration or of another release."""
    if name and name not in known:
        from skyferry.config.reading.faults import suggest

        print(output.escape_control(f"warning: {option}: {name} is unknown. {suggest(name, known)}"), file=sys.stderr)


async def complete_ids(
    given: Sequence[str] | None, load: Callable[[str], Awaitable[Page[Any]]], identify: Callable[[Any], str]
) -> list[str] | None:
    """Return the ids that `given` abbreviates; an unknown one stays. Raises ConfigError with the candidates of an ambiguous one.

    `load` returns the page after a cursor. Only abbreviations read the list.
    """
    short = {text for text in given or () if len(text) < ID_LENGTH}
    found: dict[str, list[str]] = {text: [] for text in short}
    cursor = ""
    while short:
        page = await load(cursor)
        for text in short:
            found[text] += [identify(item) for item in page.items if identify(item).startswith(text)]
        if not (cursor := page.cursor):
            break
    return [_choose(text, found.get(text, [])) for text in given] if given else None


async def complete_transfer(ledger: Transfers, given: str) -> str:
    """Return the id of the transfer that `given` abbreviates. Raises as `complete_ids`."""
    return given if len(given) == ID_LENGTH else _choose(given, await ledger.find_ids(given, MANY))


def _choose(given: str, ids: Sequence[str]) -> str:
    if len(ids) < 2 or given in ids:
        return ids[0] if len(ids) == 1 else given
    count = f"{len(ids):,}{' or more' if len(ids) == MANY else ''}"
    shown = ", ".join(ids[:CANDIDATES]) + (" and others" if len(ids) > CANDIDATES else "")
    raise ConfigError(f"{count} ids begin so", where=given, hint=f"choose one of {shown}")


async def complete_letters(ledger: DeadLetters, given: Sequence[str] | None) -> list[str]:
    """Return the ids that `given` abbreviates, of the dead letters in the ledger. Raises as `complete_ids`."""

    def load(cursor: str) -> Awaitable[Page[DeadLetter]]:
        return ledger.list_dead_letters(Filter(), cursor, PAGE)

    return await complete_ids(given, load, attrgetter("id")) or []


def require_selection(ids: list[str] | None, everything: bool, narrowed: bool) -> None:
    """Raise BadParameter if IDs, --all and options (`narrowed`) select nothing, or if --all contradicts IDs."""
    if ids and everything:
        raise click.BadParameter("--all contradicts IDs: give one of them")
    if not (ids or everything or narrowed):
        raise click.BadParameter("the selection is empty: give IDs, options that narrow it, or --all")


def find_missing(given: Sequence[str] | None, ids: Sequence[str] | None, known: Collection[str]) -> list[str]:
    """Return the texts of `given` whose completed id is not known."""
    return [text for text, each in zip(given or (), ids or (), strict=True) if each not in known]


def report_count(number: int, noun: str, done: str, json: bool, listing: str, missing: Sequence[str] = ()) -> None:
    """Print how many items were affected. Raises NotFound if there were none, or some of those that were given are `missing`."""
    if json:
        output.print_json({"count": number})
    else:
        output.print_lines(f"{output.format_count(number, noun)} {done}")
    if number and missing:
        words = "does not exist" if len(missing) == 1 else "do not exist"
        hint = f"`{format_command(listing)}` shows what there is"
        raise NotFound(f"{output.format_count(len(missing), noun)} {words}", where=", ".join(missing), hint=hint)
    if not number:
        raise NotFound(f"no {noun} is selected", hint=f"`{format_command(listing)}` shows what there is")
