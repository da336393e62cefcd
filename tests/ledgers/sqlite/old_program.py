"""The release that knew version 1 of the ledger in SQLite: its tables, and its statements as it ran them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import orjson

from skyferry.ledgers import codec
from skyferry.model import Transfer
from skyferry.sqlite.owners import OwnerLock, owners_folder

VERSION_1 = Path(__file__).parent / "version_1"
_, *SECTIONS = (VERSION_1 / "statements.sql").read_text().split("-- name: ")
SQL = {name: sql for name, _, sql in (section.partition("\n") for section in SECTIONS)}


def make_file(path: Path) -> None:
    """Make the tables, as that release left them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript((VERSION_1 / "schema.sql").read_text())
    db.close()


class OldProgram:
    """A worker of that release. Each call is one of its transactions."""

    def __init__(self, path: Path, owner: str) -> None:
        """Open the file, as that release did: it repeats the statements that make the tables."""
        self.presence = OwnerLock(owners_folder(path), owner)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=30)
        with self.presence.take_turn():
            self._db.executescript((VERSION_1 / "schema.sql").read_text())
            self._me = self._db.execute(SQL["enter"], {"name": owner}).lastrowid

    def claim(self, t: Transfer, at: int) -> int:
        """Claim a new transfer at a time in ticks. Return its fence."""
        with self.presence.take_turn():
            self._db.execute("BEGIN IMMEDIATE")
            fence, place, serial = (number + 1 for number in self._read("last"))
            ids = codec.split_id(t.id)
            (known,) = self._read("look", *ids, t.key, t.store)
            assert known[0] is None
            if known[7] is None:
                self._db.execute(SQL["add_destinations"], (place, t.key, t.store))
            else:
                assert known[8] is None, "it is leased"
            at_place = known[7] or place
            row = (serial, *ids, at_place, t.route, None, 0, self._me, at, at)
            self._db.execute(SQL["add_transfers"], row)
            self._db.execute(SQL["add_details"], (serial, codec.pack_transfer(t)))
            self._db.execute(SQL["lease"], (at_place, fence, self._me, at + 30 * 2**22))
            used = [("fence", 1), ("serial", 1), ("state 0", 1), ("place", int(known[7] is None))]
            for name, change in used:
                self._db.execute(SQL["count"], (name, change))
            self._db.execute("COMMIT")
        return int(fence)

    def settle(self, t: Transfer, fence: int, receipt: str, placement: str, at: int) -> None:
        """Settle a claimed transfer as done."""
        with self.presence.take_turn():
            self._db.execute("BEGIN IMMEDIATE")
            (known,) = self._read("look", *codec.split_id(t.id), t.key, t.store)
            serial, state, place = known[0], known[1], known[7]
            assert (state, known[9]) == (0, fence)
            self._db.execute(SQL["settle"], (serial, 2, "", None, 0, at))
            self._db.execute(SQL["add_receipts"], (serial, receipt))
            self._db.execute(SQL["place"], (place, t.source.bucket, placement))
            self._db.execute(SQL["free"], {"places": f"[{place}]"})
            for name, change in (("state 0", -1), ("state 2", 1)):
                self._db.execute(SQL["count"], (name, change))
            self._db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()
        self.presence.close()

    def _read(self, name: str, *values: object) -> Any:
        return orjson.loads(self._db.execute(SQL[name], values).fetchone()[0])
