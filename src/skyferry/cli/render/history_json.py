"""The JSON of `skyferry explain`: models of the HTTP API, extended by placements, refusals and answers of routes."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel

from skyferry.cli.render.history import ObjectHistory, RouteAnswer
from skyferry.model import Change
from skyferry.ports import Refusal
from skyferry.server.models import DeadLetterView, ObjectView, PositionText, Time, TransferView, View


class PlacementView(View):
    """The object at one destination key, as the ledger knows it."""

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


class RuleView(BaseModel):
    """One rule that rejected an event."""

    route: str
    rule: str


class RefusalView(View):
    """The last event of a source key that no route matched."""

    source: ObjectView
    change: Change
    event_id: str
    occurred_at: Time
    at: Time
    rules: tuple[RuleView, ...]

    @classmethod
    def from_refusal(cls, refusal: Refusal) -> Self:
        """Convert a record of the ledger."""
        rules = [RuleView(route=route, rule=rule) for route, rule in refusal.rules]
        fields = {name: getattr(refusal, name) for name in cls.model_fields}
        return cls.model_validate(fields | {"rules": rules})


class HistoryView(BaseModel):
    """Everything in the ledger about one key."""

    key: str
    placements: list[PlacementView]
    elsewhere: list[PlacementView]
    transfers: list[TransferView]
    dead_letters: list[DeadLetterView]
    refusals: list[RefusalView]
    routes: list[RouteAnswer]

    @classmethod
    def from_history(cls, key: str, history: ObjectHistory) -> Self:
        """Convert the records of the ledger."""
        return cls(
            key=key,
            placements=[PlacementView.model_validate(placed) for placed in history.placements],
            elsewhere=[PlacementView.model_validate(placed) for placed in history.elsewhere],
            transfers=[TransferView.from_row(row) for row in history.transfers],
            dead_letters=[DeadLetterView.from_letter(letter) for letter in history.letters],
            refusals=[RefusalView.from_refusal(refusal) for refusal in history.refusals],
            routes=list(history.answers),
        )
