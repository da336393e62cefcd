"""`skyferry explain KEY`: the whole story of one object."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from skyferry.cli import access, output
from skyferry.cli.options import ConfigFile, Json, Limit, Workspace
from skyferry.errors import NotFound
from skyferry.ports import Filter

if TYPE_CHECKING:
    from skyferry.config.settings import Settings
    from skyferry.model import Placement
    from skyferry.ports import DeadLetter, Ledger, TransferRow


@dataclass(frozen=True, slots=True)
class Story:
    """All that the ledger has about a key."""

    placements: Sequence[Placement]  # what destinations hold now
    transfers: Sequence[TransferRow]  # oldest first, with their failures
    letters: Sequence[DeadLetter]


def explain(
    key: Annotated[str, typer.Argument(help="A source key or a destination key.")],
    limit: Limit = 20,
    config: ConfigFile = None,
    workspace: Workspace = None,
    json: Json = False,
) -> None:
    """Tell the story of one object: its events, what was decided and why, attempts, checksums, what the destination holds.

    JSON: `key`; `placements`, each with `store`, `key`, `deleted` (a tombstone), `version`, `source`, `positions` (the newest
    applied), `occurred_at`, `settled_at` and `transfer_id`; `transfers`, oldest first, and `dead_letters`, as the HTTP API
    answers them.
    """
    story = asyncio.run(_story(access.load_settings(config, workspace), key, limit))
    if not (story.transfers or story.placements):
        raise NotFound("the ledger knows nothing of it", where=key, hint="was there an event? does a route take it?")
    if json:
        from skyferry.cli.story_json import StoryView

        output.emit_model(StoryView.of(key, story.placements, story.transfers, story.letters))
    else:
        _tell(story)


async def _story(settings: Settings, key: str, limit: int) -> Story:
    async with access.opened_ledger(settings) as ledger:
        found = await _transfers(ledger, key, limit)
        places = {(row.transfer.store, row.transfer.key) for row in found} | {(store, key) for store in settings.stores}
        held = [(await ledger.placements(store, [name]))[0] for store, name in sorted(places)]
        letters = [await ledger.dead_letter(row.transfer.id) for row in found]
        return Story([p for p in held if p is not None], found, [each for each in letters if each is not None])


async def _transfers(ledger: Ledger, key: str, limit: int) -> list[TransferRow]:
    """The newest `limit` from this source key or to this destination key, oldest first."""
    pages = [
        await ledger.transfers(Filter(source_key=key), limit=limit),
        await ledger.transfers(Filter(key_prefix=key), limit=limit),
    ]
    rows = {
        row.transfer.id: row
        for page in pages
        for row in page.items
        if key in (row.transfer.key, row.transfer.source.key)
    }
    newest = sorted(rows.values(), key=lambda row: row.updated_at)[-limit:]
    whole = [await ledger.transfer(row.transfer.id) for row in newest]
    return [row for row in whole if row is not None]


def _tell(story: Story) -> None:
    from skyferry.cli import story as words

    output.lines("now", *(f"  {line}" for placed in story.placements for line in words.placement(placed)))
    if not story.placements:
        output.lines("  no destination holds it, as far as the ledger knows")
    for row in story.transfers:
        output.lines("", *words.transfer(row))
    for letter in story.letters:
        output.lines("", *words.letter(letter))
