"""The ledgers of `skyferry copy`: one for each pair of stores, in the workspace."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from skyferry.clock import SystemClock
from skyferry.config.settings import LedgerSettings, Settings
from skyferry.config.urls import LedgerUrl
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.model import Claim, Transfer
from skyferry.ports import Clock, Settled, Wait
from skyferry.wiring.opener import name_owner

FOLDER = "copies"
SUFFIX = ".db"


class CopyLedger(SqliteLedger):
    """A ledger whose placements give way to what a listing of the destination shows."""

    def __init__(self, path: Path, owner: str, clock: Clock) -> None:
        super().__init__(path, owner, clock)
        self._doubted: set[str] = set()  # destination keys

    def doubt(self, key: str) -> None:
        """Leave out the placement of this key in claims: the listing contradicts it."""
        self._doubted.add(key)

    async def claim(self, transfers: Sequence[Transfer]) -> list[Claim | Settled | Wait]:
        answers = await super().claim(transfers)
        return [
            replace(a, placement=None) if isinstance(a, Claim) and a.transfer.key in self._doubted else a
            for a in answers
        ]


def choose_ledger(source: str, destination: str) -> LedgerSettings:
    """Return the settings of the ledger for two stores, given by their identities."""
    pair = hashlib.blake2b(f"{source}\0{destination}".encode(), digest_size=8).hexdigest()
    return LedgerSettings(url=f"sqlite://{FOLDER}/{pair}{SUFFIX}")


def find_ledgers(settings: Settings) -> list[LedgerSettings]:
    """Return the settings of all ledgers of copies in the workspace."""
    files = sorted((settings.workspace / FOLDER).glob(f"*{SUFFIX}"))
    return [LedgerSettings(url=f"sqlite://{FOLDER}/{file.name}") for file in files]


def open_ledger(settings: Settings) -> CopyLedger | None:
    """Open the ledger of a copy; None for one in memory."""
    url = LedgerUrl.parse(settings.ledger.url)
    return CopyLedger(url.path(settings.workspace), name_owner(), SystemClock()) if url.on_disk else None
