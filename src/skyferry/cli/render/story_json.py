"""The JSON of `skyferry explain`: the documents of the HTTP API, and placements."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel

from skyferry.cli.commands.ledger.explain import Story
from skyferry.model import Change
from skyferry.ports import Refusal
from skyferry.server.models import DeadLetterView, ObjectView, PositionText, Time, TransferView, View


class PlacementView(View):
    """What the ledger knows of one destination key."""

    store: str
    key: str
    deleted: bool
    version: str
    source: ObjectView
    positions: tuple[PositionText, ...]
    occurred_at: Time
    settled_at: Time
    transfer_id: str
    identity: str


class RefusedView(BaseModel):
    """One rule that refused an event."""

    route: str
    rule: str


class RefusalView(View):
    """The last event of a source key that no route took."""

    source: ObjectView
    change: Change
    event_id: str
    occurred_at: Time
    at: Time
    rules: tuple[RefusedView, ...]

    @classmethod
    def of(cls, refusal: Refusal) -> Self:
        """From the ledger's record."""
        rules = [RefusedView(route=route, rule=rule) for route, rule in refusal.rules]
        fields = {name: getattr(refusal, name) for name in cls.model_fields}
        return cls.model_validate(fields | {"rules": rules})


class TriedView(View):
    """The answer of one route for an object without an event."""

    source: str
    route: str
    to: str
    rule: str


class StoryView(BaseModel):
    """All that the ledger has about a key."""

    key: str
    placements: list[PlacementView]
    elsewhere: list[PlacementView]
    transfers: list[TransferView]
    dead_letters: list[DeadLetterView]
    refusals: list[RefusalView]
    routes: list[TriedView]

    @classmethod
    def of(cls, key: str, story: Story) -> Self:
        """From the ledger's records."""
        return cls(
            key=key,
            placements=[PlacementView.model_validate(placed) for placed in story.placements],
            elsewhere=[PlacementView.model_validate(placed) for placed in story.elsewhere],
            transfers=[TransferView.from_row(row) for row in story.transfers],
            dead_letters=[DeadLetterView.from_letter(letter) for letter in story.letters],
            refusals=[RefusalView.of(refusal) for refusal in story.refusals],
            routes=[TriedView.model_validate(tried) for tried in story.tried],
        )
