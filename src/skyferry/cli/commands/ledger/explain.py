"""`skyferry explain KEY`: the history of one object."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import click

from skyferry.cli import resources
from skyferry.cli.arguments.options import ConfigFile, Json, Limit, Workspace
from skyferry.cli.parameters import Argument
from skyferry.cli.render import output
from skyferry.cli.render.history import ObjectHistory, RouteAnswer
from skyferry.errors import NotFound
from skyferry.ports import Filter

if TYPE_CHECKING:
    from skyferry.cli.arguments.object_keys import ObjectCandidate
    from skyferry.config.settings import Settings
    from skyferry.model import Placement, Provider
    from skyferry.ports import DeadLetter, DeadLetters, Refusal, TransferRow, Transfers


REFUSED_BEFORE = """\
  the routes have changed since, or the worker that refused it has others (`skyferry workers`); `skyferry submit` copies it"""


def explain(
    key: Annotated[str, Argument(help="A source key, a destination key, or a URL in any form that a command prints.")],
    limit: Limit = 20,
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Show the history of one object: events, decisions with their reasons, attempts, checksums, and the destination's state.

    If the ledger does not know the object, show what each route would do with it, and exit with code 1. If it knows only that no
    route matched it, show the routes that would copy it now.

    JSON: `key`; `placements` at the destinations, each with `store`, `key`, `deleted` (a tombstone), `version`, `source`,
    `positions` (the newest applied), `occurred_at`, `settled_at`, `transfer_id` and `identity` (of the store); `elsewhere`,
    placements in other stores that had the name of this one; `transfers`, oldest first, and `dead_letters`, as in the HTTP
    API; `refusals`, the last event of each bucket that no route matched, with `source`, `change`, `event_id`, `occurred_at`,
    `at` and `rules` (route and rule). In both of these cases, `routes`: what each would do, with `source`, `route`, `to` ("" if
    it rejects the object) and `rule`.
    """
    from skyferry.cli.arguments.object_keys import find_candidates

    if not key:
        raise click.BadParameter("the key is empty: name an object")
    settings = resources.load_settings(config, workspace)
    wanted = find_candidates(key, settings)
    unknown: NotFound | None = None
    try:
        history = asyncio.run(_load_history(settings, wanted, limit))
    except NotFound as error:  # no ledger exists yet
        unknown, history = error, ObjectHistory()
    if not history.known:
        history = ObjectHistory(answers=list(_try_routes(wanted, settings)))
        unknown = unknown or NotFound("the ledger does not know this object", where=key, hint=_advise(history.answers))
    elif history.only_refused:
        history = replace(history, answers=[answer for answer in _try_routes(wanted, settings) if answer.to])
    if json:
        from skyferry.cli.render.history_json import HistoryView

        output.print_model(HistoryView.from_history(key, history))
    else:
        _print_history(history)
    if unknown:
        raise unknown


async def _load_history(settings: Settings, wanted: list[ObjectCandidate], limit: int) -> ObjectHistory:
    from skyferry.config.urls import resolve_store
    from skyferry.wiring.identities import find_moved_stores, identify_stores

    ends = {name: resolve_store(store).address for name, store in settings.stores.items()}
    async with resources.open_ledger(settings, reads=True) as ledger:
        found = await _load_transfers(ledger, wanted, ends, limit)
        places = {(row.transfer.store, row.transfer.key) for row in found}
        places |= {(store, each.key) for each in wanted for store, at in ends.items() if each.is_at(at, each.key)}
        others, here = await find_moved_stores(ledger, settings), identify_stores(settings)
        held = [(await ledger.get_placements(store, [name]))[0] for store, name in sorted(places)]
        letters = [await ledger.get_dead_letter(row.transfer.id) for row in found]
        letters += [each for one in wanted for each in await _load_letters(ledger, one, limit)]
        refusals = [
            each for one in wanted for each in await ledger.list_refusals(one.key) if one.is_at(*_get_source(each))
        ]
    unique = {each.id: each for each in letters if each is not None}
    now: list[Placement] = []
    elsewhere: list[Placement] = []
    for placed in held:
        if placed is not None:
            known = here.get(placed.store, placed.identity)
            lies = placed.is_in((known,) if placed.store in others else (known, ""))
            (now if lies else elsewhere).append(placed)
    return ObjectHistory(now, elsewhere, found, list(unique.values()), list(dict.fromkeys(refusals)))


async def _load_transfers(
    ledger: Transfers, wanted: list[ObjectCandidate], ends: dict[str, tuple[Provider, str]], limit: int
) -> list[TransferRow]:
    """Return the newest `limit` transfers from these source keys or to these destination keys, oldest first."""
    rows: dict[str, TransferRow] = {}
    for key in dict.fromkeys(each.key for each in wanted):
        for where in (Filter(source_key=key), Filter(key_prefix=key)):
            for row in (await ledger.list_transfers(where, limit=limit)).items:
                t = row.transfer
                source = t.source.provider, t.source.bucket
                if any(s.is_at(source, t.source.key) or _is_destination(s, ends.get(t.store), t.key) for s in wanted):
                    rows[t.id] = row
    newest = sorted(rows.values(), key=lambda row: row.updated_at)[-limit:]
    whole = [await ledger.get_transfer(row.transfer.id) for row in newest]
    return [row for row in whole if row is not None]


def _is_destination(one: ObjectCandidate, end: tuple[Provider, str] | None, key: str) -> bool:
    return key == one.key and (one.bucket is None or one.bucket == end)


async def _load_letters(ledger: DeadLetters, one: ObjectCandidate, limit: int) -> list[DeadLetter]:
    """Return the dead letters of events that became no transfer."""
    page = await ledger.list_dead_letters(Filter(source_key=one.key), limit=limit)
    source = "" if one.bucket is None else f"{one.bucket[0]}://{one.bucket[1]}/{one.key}"
    return [letter for letter in page.items if not source or letter.source == source]


def _get_source(refusal: Refusal) -> tuple[tuple[Provider, str], str]:
    source = refusal.source
    return (source.provider, source.bucket), source.key


def _try_routes(wanted: list[ObjectCandidate], settings: Settings) -> Iterator[RouteAnswer]:
    """Match the routes against these objects, as if they were created now."""
    import time

    from skyferry.cli.arguments.object_keys import find_sources
    from skyferry.model import Change, ObjectEvent
    from skyferry.routing.routes import Routes

    routes = Routes(settings)
    found: list[RouteAnswer] = []
    for ref in dict.fromkeys(find_sources(wanted, settings)):
        event = ObjectEvent("explain", Change.CREATED, ref, time.time())
        source = f"{ref.provider}://{ref.bucket}/{ref.key}"
        taken = [RouteAnswer(source, t.route, f"{t.store}: {t.key}") for t in routes.match(event)]
        why = routes.untaken(event)
        matched = {answer.route for answer in taken}
        rejected = [RouteAnswer(source, each.route, rule=each.rule) for each in why.rules if each.route not in matched]
        unknown = RouteAnswer(source, rule=f"no configured store has the bucket {ref.provider}://{ref.bucket}")
        found += [*taken, *rejected] if why.known else [unknown]
    meant = [each for each in found if each.to or each.route]
    yield from dict.fromkeys(meant or found)


def _advise(answers: Sequence[RouteAnswer]) -> str:
    """Return the hint about an object that the ledger does not know."""
    if not answers or any(answer.to for answer in answers):
        return "check that its source publishes events"
    if any(answer.route for answer in answers):
        return "no route takes it: correct a route if it is to be copied"
    return "add a store with this bucket, or correct the URL"


def _print_history(history: ObjectHistory) -> None:
    from skyferry.cli.render import history_text as text

    if not history.known:
        output.print_lines(*map(str, history.answers))
        return
    output.print_lines(
        "now", *(f"  {line}" for placed in history.placements for line in text.describe_placement(placed))
    )
    if not history.placements:
        output.print_lines("  no destination has it, as far as the ledger knows")
    if history.elsewhere:
        output.print_lines("", "before, in another store of the same name")
        output.print_lines(*(f"  {line}" for placed in history.elsewhere for line in text.describe_elsewhere(placed)))
    for row in history.transfers:
        output.print_lines("", *text.describe_transfer(row))
    for refusal in history.refusals:
        output.print_lines("", *text.describe_refusal(refusal))
    if history.answers:
        output.print_lines(
            "", "with this configuration", *(f"  {answer}" for answer in history.answers), REFUSED_BEFORE
        )
    for letter in history.letters:
        output.print_lines("", *text.describe_letter(letter))
