"""The JSON of `skyferry explain`: the documents of the HTTP API, and placements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel

from skyferry.model import Placement
from skyferry.ports import DeadLetter, TransferRow
from skyferry.server.models import DeadLetterView, ObjectView, Place, Time, TransferView, View


class PlacementView(View):
    """What the ledger knows of one destination key."""

    store: str
    key: str
    deleted: bool
    version: str
    source: ObjectView
    positions: tuple[Place, ...]
    occurred_at: Time
    settled_at: Time
    transfer_id: str


class StoryView(BaseModel):
    """All that the ledger has about a key."""

    key: str
    placements: list[PlacementView]
    transfers: list[TransferView]
    dead_letters: list[DeadLetterView]

    @classmethod
    def of(
        cls, key: str, placements: Sequence[Placement], rows: Sequence[TransferRow], letters: Sequence[DeadLetter]
    ) -> Self:
        """From the ledger's records."""
        return cls(
            key=key,
            placements=[PlacementView.model_validate(placed) for placed in placements],
            transfers=[TransferView.of(row) for row in rows],
            dead_letters=[DeadLetterView.of(letter) for letter in letters],
        )
