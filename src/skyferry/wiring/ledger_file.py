"""What commands do to the ledger's file: look at it, copy it, make it again."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from skyferry.config.settings import Settings
from skyferry.config.urls import LedgerUrl
from skyferry.errors import ConfigError, LedgerError, SkyferryError
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.ledgers.sqlite.maintenance import backup, check, holds_anything, salvage
from skyferry.ports import Ledger
from skyferry.sqlite.file import users
from skyferry.wiring.opener import Opener

__all__ = ("backup", "check", "ledger_file", "rebuild_ledger")
BESIDE = ("", "-wal", "-shm")  # what SQLite calls the parts of one database
BATCH = 100  # letters at once


def ledger_file(settings: Settings) -> Path:
    """Where the configured ledger is. Raises ConfigError if it is in no file."""
    url = LedgerUrl.parse(settings.ledger.url)
    if not url.on_disk:
        raise ConfigError("the ledger is not in a file", where=settings.ledger.url, hint="configure a sqlite:// URL")
    return url.path(settings.workspace)


@asynccontextmanager
async def rebuild_ledger(opener: Opener, *, add: bool = False) -> AsyncIterator[Ledger]:
    """A ledger to be filled, which takes the place of a lost or damaged one at the end; what that was is kept beside it.

    Before the end there is only a file named `….rebuilt`, and the next try goes on with it. Dead letters that can be read are
    taken over. Raises LedgerError while a process has the ledger open; SkyferryError where it is whole and remembers
    something, but to `add` to it.
    """
    path = ledger_file(opener.settings)
    if live := users(path):
        raise LedgerError(f"{live[0]} has it open", where=str(path), hint="stop the service first")
    damaged = path.exists() and bool(check(path))
    if path.exists() and not damaged and not add and holds_anything(path):
        hint = "--add lets it remember, too, what only the destinations know of"
        raise SkyferryError("it is whole, so there is nothing to rebuild", where=str(path), hint=hint)
    new = path.with_name(f"{path.name}.rebuilt") if damaged or not path.exists() else path
    ledger = SqliteLedger(new, opener.owner, opener.clock, opener.settings.ledger.lease)
    try:
        if damaged:
            await _take_over(ledger, path)
        yield ledger
    finally:
        await ledger.close()
    if new != path:
        _replace(path, new)


async def _take_over(ledger: Ledger, path: Path) -> None:
    letters = []
    for letter in salvage(path):
        letters.append(letter)
        if len(letters) == BATCH:
            await ledger.bury(letters)
            letters = []
    await ledger.bury(letters)


def _replace(path: Path, new: Path) -> None:
    """Put the old file aside, and the new one in its place."""
    at = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    for part in BESIDE:
        old = path.with_name(f"{path.name}{part}")
        if old.exists():
            os.rename(old, path.with_name(f"{path.name}.damaged-{at}{part}"))
    os.rename(new, path)
    shutil.rmtree(new.with_name(f"{new.name}.owners"), ignore_errors=True)
