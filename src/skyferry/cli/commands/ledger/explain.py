"""`skyferry explain KEY`: the whole story of one object."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from skyferry.cli import resources
from skyferry.cli.arguments.options import ConfigFile, Json, Limit, Workspace
from skyferry.cli.render import output
from skyferry.errors import NotFound
from skyferry.ports import Filter

if TYPE_CHECKING:
    from skyferry.cli.arguments.object_keys import Sought
    from skyferry.config.settings import Settings
    from skyferry.model import Placement, Provider
    from skyferry.ports import DeadLetter, Ledger, Refusal, TransferRow


@dataclass(frozen=True, slots=True)
class Tried:
    """The answer of one route for an object without an event."""

    source: str  # provider://bucket/key
    route: str = ""  # "" = it is not one route's
    to: str = ""  # store: key; "" = it is refused
    rule: str = ""  # which refuses it


@dataclass(frozen=True, slots=True)
class Story:
    """All that the ledger has about a key."""

    placements: Sequence[Placement] = ()  # what destinations hold now
    elsewhere: Sequence[Placement] = ()  # what was held by other stores that had the names of these
    transfers: Sequence[TransferRow] = ()  # oldest first, with their failures
    letters: Sequence[DeadLetter] = ()
    refusals: Sequence[Refusal] = ()
    tried: Sequence[Tried] = field(default=())  # only where there is nothing else

    @property
    def known(self) -> bool:
        """The ledger has something."""
        return bool(self.transfers or self.placements or self.elsewhere or self.letters or self.refusals)


def explain(
    key: Annotated[
        str, typer.Argument(help="A source key or a destination key; or a URL, in any form that a command prints.")
    ],
    limit: Limit = 20,
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Tell the story of one object: its events, what was decided and why, attempts, checksums, what the destination holds.

    Of an object that the ledger knows nothing of it says what each route would make of it, with exit code 1.

    JSON: `key`; `placements`, each with `store`, `key`, `deleted` (a tombstone), `version`, `source`, `positions` (the newest
    applied), `occurred_at`, `settled_at`, `transfer_id` and `identity` (of the store); `elsewhere`, the same of what another store
    held that had the name of this one; `transfers`, oldest first, and `dead_letters`, as the HTTP API
    answers them; `refusals`, the last event that no route took, of each bucket, with `source`, `change`, `event_id`, `occurred_at`,
    `at` and `rules` (route and rule); `routes`, each with `source`, `route`, `to` ("" if it is refused) and `rule`, where the
    ledger knows nothing.
    """
    from skyferry.cli.arguments.object_keys import sought

    settings = resources.load_settings(config, workspace)
    wanted = sought(key, settings)
    unknown: NotFound | None = None
    try:
        story = asyncio.run(_story(settings, wanted, limit))
    except NotFound as error:  # there is no ledger yet
        unknown, story = error, Story()
    if not story.known:
        story = Story(tried=list(_tried(wanted, settings)))
        unknown = unknown or NotFound("the ledger knows nothing of it", where=key, hint="was there an event?")
    if json:
        from skyferry.cli.render.story_json import StoryView

        output.emit_model(StoryView.of(key, story))
    else:
        _tell(story)
    if unknown:
        raise unknown


async def _story(settings: Settings, wanted: list[Sought], limit: int) -> Story:
    from skyferry.config.urls import address
    from skyferry.wiring.identities import identities, moved

    ends = {name: address(store) for name, store in settings.stores.items()}
    async with resources.opened_ledger(settings) as ledger:
        found = await _transfers(ledger, wanted, ends, limit)
        places = {(row.transfer.store, row.transfer.key) for row in found}
        places |= {(store, each.key) for each in wanted for store, at in ends.items() if each.is_at(at, each.key)}
        others, here = await moved(ledger, settings), identities(settings)
        held = [(await ledger.placements(store, [name]))[0] for store, name in sorted(places)]
        letters = [await ledger.dead_letter(row.transfer.id) for row in found]
        letters += [each for one in wanted for each in await _letters(ledger, one, limit)]
        refusals = [each for one in wanted for each in await ledger.refusals(one.key) if one.is_at(*_of(each))]
    unique = {each.id: each for each in letters if each is not None}
    now: list[Placement] = []
    elsewhere: list[Placement] = []
    for placed in held:
        if placed is not None:
            known = here.get(placed.store, placed.identity)
            lies = placed.is_in((known,) if placed.store in others else (known, ""))
            (now if lies else elsewhere).append(placed)
    return Story(now, elsewhere, found, list(unique.values()), list(dict.fromkeys(refusals)))


async def _transfers(
    ledger: Ledger, wanted: list[Sought], ends: dict[str, tuple[Provider, str]], limit: int
) -> list[TransferRow]:
    """The newest `limit` from these source keys or to these destination keys, oldest first."""
    rows: dict[str, TransferRow] = {}
    for key in dict.fromkeys(each.key for each in wanted):
        for where in (Filter(source_key=key), Filter(key_prefix=key)):
            for row in (await ledger.transfers(where, limit=limit)).items:
                t = row.transfer
                source = t.source.provider, t.source.bucket
                if any(s.is_at(source, t.source.key) or _is_to(s, ends.get(t.store), t.key) for s in wanted):
                    rows[t.id] = row
    newest = sorted(rows.values(), key=lambda row: row.updated_at)[-limit:]
    whole = [await ledger.transfer(row.transfer.id) for row in newest]
    return [row for row in whole if row is not None]


def _is_to(one: Sought, end: tuple[Provider, str] | None, key: str) -> bool:
    return key == one.key and (one.bucket is None or one.bucket == end)


async def _letters(ledger: Ledger, one: Sought, limit: int) -> list[DeadLetter]:
    """Those of events that became no transfer."""
    page = await ledger.dead_letters(Filter(source_key=one.key), limit=limit)
    source = "" if one.bucket is None else f"{one.bucket[0]}://{one.bucket[1]}/{one.key}"
    return [letter for letter in page.items if not source or letter.source == source]


def _of(refusal: Refusal) -> tuple[tuple[Provider, str], str]:
    source = refusal.source
    return (source.provider, source.bucket), source.key


def _tried(wanted: list[Sought], settings: Settings) -> Iterator[Tried]:
    """Try the routes for these objects, as if they were created now."""
    import time

    from skyferry.cli.arguments.object_keys import events_of
    from skyferry.model import Change, ObjectEvent
    from skyferry.routing.routes import Routes

    routes = Routes(settings)
    found: list[Tried] = []
    for ref in dict.fromkeys(events_of(wanted, settings)):
        event = ObjectEvent("explain", Change.CREATED, ref, time.time())
        source = f"{ref.provider}://{ref.bucket}/{ref.key}"
        taken = [Tried(source, t.route, f"{t.store}: {t.key}") for t in routes.match(event)]
        why = routes.untaken(event)
        refused = [Tried(source, each.route, rule=each.rule) for each in why.rules if not _takes(taken, each.route)]
        unknown = Tried(source, rule=f"no store of the configuration is {ref.provider}://{ref.bucket}")
        found += [*taken, *refused] if why.known else [unknown]
    meant = [each for each in found if each.to or each.route]
    yield from dict.fromkeys(meant or found)


def _takes(taken: Sequence[Tried], route: str) -> bool:
    return any(each.route == route for each in taken)


def _tell(story: Story) -> None:
    from skyferry.cli.render import story as words

    if not story.known:
        output.lines(*map(_attempt, story.tried))
        return
    output.lines("now", *(f"  {line}" for placed in story.placements for line in words.placement(placed)))
    if not story.placements:
        output.lines("  no destination holds it, as far as the ledger knows")
    if story.elsewhere:
        output.lines("", "before, under the same name of a store")
        output.lines(*(f"  {line}" for placed in story.elsewhere for line in words.elsewhere(placed)))
    for row in story.transfers:
        output.lines("", *words.transfer(row))
    for refusal in story.refusals:
        output.lines("", *words.refusal(refusal))
    for letter in story.letters:
        output.lines("", *words.letter(letter))


def _attempt(tried: Tried) -> str:
    if tried.to:
        return f"route {tried.route} would take {tried.source} to {tried.to}"
    return (
        f"route {tried.route} refuses {tried.source}: {tried.rule}" if tried.route else f"{tried.source}: {tried.rule}"
    )
