"""The ledgers of `skyferry copy`: one for each pair of stores, in the state folder of the user.

The folder is `$XDG_STATE_HOME/skyferry/copies`, by default `~/.local/state/skyferry/copies`
(https://specifications.freedesktop.org/basedir-spec/latest/). A workspace that is given explicitly has its own, `copies/`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from skyferry.clock import SystemClock
from skyferry.config.settings import LedgerSettings, Settings
from skyferry.errors import LedgerError
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.model import Claim, Transfer
from skyferry.ports import Clock, Settled, Wait
from skyferry.sqlite.readonly import read_unchanged
from skyferry.wiring.opener import name_owner

FOLDER = "copies"
SUFFIX = ".db"
STATE = "XDG_STATE_HOME"
VERSION = 14  # place of the version in a UUID
DOUBTED = "d"  # a version that no UUID has: of ids of events whose destination key the listing doubts
CACHE = 8 * 2**20  # bytes of cached pages: more would let the memory of a copy grow with the objects, and saves no CPU


class CopyLedger(SqliteLedger):
    """A ledger whose placements give way to what a listing of the destination shows: see `mark_doubted`."""

    def __init__(self, path: Path, owner: str, clock: Clock) -> None:
        super().__init__(path, owner, clock, cache=CACHE)
        self.path = path

    async def claim(self, transfers: Sequence[Transfer]) -> list[Claim | Settled | Wait]:
        answers = await super().claim(transfers)
        return [replace(a, placement=None) if isinstance(a, Claim) and _is_doubted(a.transfer) else a for a in answers]


def _is_doubted(transfer: Transfer) -> bool:
    return transfer.event_id[VERSION : VERSION + 1] == DOUBTED


def mark_doubted(event_id: str) -> str:
    """Return the id of an event whose destination key is doubted, for the ledger of whichever process copies it."""
    return f"{event_id[:VERSION]}{DOUBTED}{event_id[VERSION + 1 :]}"


def find_folder(settings: Settings, env: Mapping[str, str]) -> Path:
    """Return the folder of the ledgers of copies. Raises LedgerError if the user has no home folder."""
    if "workspace" in settings.model_fields_set:
        return settings.workspace / FOLDER
    state = Path(env.get(STATE, ""))
    if not state.is_absolute():  # the specification: relative paths are ignored
        try:
            state = Path.home() / ".local" / "state"
        except RuntimeError as error:
            raise LedgerError(str(error), hint=f"set {STATE} to a folder for the ledger") from error
    return state / "skyferry" / FOLDER


def choose_file(folder: Path, source: str, destination: str) -> Path:
    """Return the ledger's file for two stores, given by their identities."""
    pair = hashlib.blake2b(f"{source}\0{destination}".encode(), digest_size=8).hexdigest()
    return folder / f"{pair}{SUFFIX}"


def find_ledgers(folder: Path) -> list[LedgerSettings]:
    """Return the settings of all ledgers of copies in the folder."""
    files = sorted(folder.absolute().glob(f"*{SUFFIX}"))
    return [LedgerSettings(url=f"sqlite://{quote(str(file))}") for file in files]


def open_ledger(file: Path) -> CopyLedger:
    """Open or create the ledger of a copy. Its folder is private. Raises LedgerError."""
    with contextlib.suppress(OSError):  # `SqliteFile` reports it
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return CopyLedger(file, name_owner(), SystemClock())


def open_snapshot(file: Path, folder: Path) -> CopyLedger | None:
    """Open a copy in `folder` of the ledger, which stays as it is; None if there is none. Raises LedgerError."""
    if not os.path.exists(file):  # False, too, where this user may not look
        return None
    snapshot = folder / file.name
    try:
        with contextlib.closing(sqlite3.connect(snapshot)) as new:
            read_unchanged(file, lambda old: old.backup(new))
    except (sqlite3.Error, OSError) as error:
        raise LedgerError(str(error), where=str(file), hint="use --ignore-ledger to check every object") from error
    return open_ledger(snapshot)
