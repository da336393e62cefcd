"""A ledger for who has looked at the destination and found it otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.model import Claim, Transfer
from skyferry.ports import Clock, Settled, Wait


class DoubtingLedger(SqliteLedger):
    """A ledger that can be told of keys which do not hold what it remembers."""

    def __init__(self, path: Path, owner: str, clock: Clock) -> None:
        super().__init__(path, owner, clock)
        self.doubted: set[str] = set()  # destination keys

    async def claim(self, transfers: Sequence[Transfer]) -> list[Claim | Settled | Wait]:
        answers = await super().claim(transfers)
        return [
            replace(a, placement=None) if isinstance(a, Claim) and a.transfer.key in self.doubted else a
            for a in answers
        ]
