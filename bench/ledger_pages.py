"""Pages and bytes that claims and settlements write to the log of a large ledger, by table and index.

    python -m bench.ledger_pages [sqlite] [postgres] [--transfers N] [--events N] [--at-once N] [--folder DIR] [--option NAME=VALUE]

All events are new and have random keys. They are claimed, then settled as done, in batches of 256, `--at-once` of them in one
transaction of SQLite. SQLite logs whole pages, each once in a transaction, and makes no checkpoint here. PostgreSQL starts just
after a checkpoint; `pg_waldump`, a program of the server, counts. `--folder` keeps the filled data, as that of
`bench.ledger_engines` does. Neither figure depends on the speed of the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from bench._ledger_fill import fill, make_empty
from bench.ledger import BATCH, make_outcome, make_transfer
from bench.ledger_engines import CLIENTS, EPOCH, SPACING, Engine, serve

from skyferry.config.settings import LedgerSettings, Settings
from skyferry.model import Claim
from skyferry.ports import Ledger, Settlement
from skyferry.wiring import open_ledger

ROW = "{:>10} {:>8} {:<22} {:>10} {:>10} {:>14}"
HEAD = 24  # bytes of a frame before its page: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
RECORD = re.compile(r"len \(rec/tot\): +\d+/ *(\d+), .*? desc: (.*)")
RELATION = re.compile(r"rel \d+/\d+/(\d+)")
T = TypeVar("T")
RELATIONS = """SELECT pg_relation_filenode(c.oid), relname FROM pg_class AS c
WHERE relnamespace = 'skyferry'::regnamespace AND relkind IN ('r', 'i')"""


class SqliteLog:
    """The write-ahead log of a file."""

    def __init__(self, path: Path) -> None:
        self._path, self._log = path, path.with_name(f"{path.name}-wal")
        with closing(sqlite3.connect(path)) as db:
            [self._page] = db.execute("PRAGMA page_size").fetchone()

    def locate_end(self) -> str:
        """Return the number of frames."""
        return str((self._log.stat().st_size - 32) // (HEAD + self._page))

    def count(self, start: str, end: str) -> dict[str, list[int]]:
        """Return the frames, their bytes, and those of whole pages, by table and index."""
        with closing(sqlite3.connect(self._path)) as db:
            names: dict[int, str] = dict(db.execute("SELECT pageno, name FROM dbstat"))
        found: dict[str, list[int]] = {}
        with self._log.open("rb") as log:
            for frame in range(int(start), int(end)):
                log.seek(32 + frame * (HEAD + self._page))
                each = found.setdefault(names.get(int.from_bytes(log.read(4), "big"), "free pages"), [0, 0, 0])
                for column, more in enumerate((1, HEAD + self._page, 1)):
                    each[column] += more
        return found


class PostgresLog:
    """The WAL of a server."""

    def __init__(self, engine: Engine) -> None:
        assert engine.postgres
        self._server = engine.postgres

    def locate_end(self) -> str:
        """Return the position."""
        return self._server.run("SELECT pg_current_wal_insert_lsn()")

    def count(self, start: str, end: str) -> dict[str, list[int]]:
        """Return the records, their bytes, and the images of whole pages, by table and index."""
        names = dict(line.split("|") for line in self._server.run(RELATIONS).splitlines())
        folder = Path(self._server.run("SHOW data_directory"), "pg_wal")
        self._server.run("SELECT pg_switch_wal()")  # so that it is in the file
        command: list[str | Path] = [self._server.programs / "pg_waldump", "-p", folder, "-s", start, "-e", end]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        found: dict[str, list[int]] = {}
        for record in filter(None, map(RECORD.search, lines)):
            relation = RELATION.search(record[2])
            each = found.setdefault(names.get(relation[1], "other") if relation else "other", [0, 0, 0])
            for column, more in enumerate((1, int(record[1]), record[2].count("FPW"))):
                each[column] += more
        return found


async def decide(ledger: Ledger, log: SqliteLog | PostgresLog, options: argparse.Namespace) -> list[str]:
    """Claim all events, then settle them. Return the positions in the log before, between and after."""
    first = (int(time.time()) - EPOCH) * CLIENTS * SPACING
    events = [make_transfer(first + number, "random") for number in range(options.events)]
    batches = [events[start : start + BATCH] for start in range(0, len(events), BATCH)]
    ends, claims = [log.locate_end()], list[Claim]()
    for some in _group(batches, options.at_once):
        for answers in await asyncio.gather(*map(ledger.claim, some)):
            claims += [answer for answer in answers if isinstance(answer, Claim)]
    assert len(claims) == len(events)
    ends.append(log.locate_end())
    settlements = [Settlement(claim, make_outcome(claim.transfer)) for claim in claims]
    batches_of_them = [settlements[start : start + BATCH] for start in range(0, len(events), BATCH)]
    for some_of_them in _group(batches_of_them, options.at_once):
        for recorded in await asyncio.gather(*map(ledger.settle, some_of_them)):
            assert all(recorded)
    return [*ends, log.locate_end()]


def _group(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


async def measure(engine: str, served: Engine, options: argparse.Namespace) -> None:
    """Print the lines of an engine."""
    ledger = await open_ledger(Settings(ledger=LedgerSettings(url=served.url, lease=600.0)))
    log = SqliteLog(Path(served.url.removeprefix("sqlite://"))) if engine == "sqlite" else PostgresLog(served)
    if isinstance(log, SqliteLog):
        file = ledger._file  # type: ignore[attr-defined]  # the port has no file
        await file.write(lambda db: db.execute("PRAGMA wal_autocheckpoint=0").close())
    ends = await decide(ledger, log, options)
    for what, start, end in zip(("claims", "settles"), ends, ends[1:], strict=False):
        found = log.count(start, end)
        total = [sum(column) for column in zip(*found.values(), strict=True)]
        for name, counts in [*sorted(found.items(), key=lambda item: -item[1][1])[: options.lines], ("all", total)]:
            records, octets, pages = (count / options.events for count in counts)
            print(ROW.format(engine, what, name, f"{records:.2f}", f"{octets:,.0f}", f"{pages:.2f}"), flush=True)
    await ledger.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="*", default=["sqlite", "postgres"])
    parser.add_argument("--transfers", type=int, default=1_000_000, help="done before, in the ledger")
    parser.add_argument("--events", type=int, default=8_192)
    parser.add_argument("--at-once", type=int, default=4, help="batches at the same time")
    parser.add_argument("--lines", type=int, default=6, help="tables and indexes to print")
    parser.add_argument("--folder", type=Path, help="keeps the data, which are filled once")
    parser.add_argument(
        "--option", action="append", default=[], help="of PostgreSQL, such as --option=wal_compression=lz4"
    )
    options = parser.parse_args()
    print(ROW.format("engine", "", "table or index", "records", "bytes", "whole pages"))
    for engine in options.engines:
        with tempfile.TemporaryDirectory() as scratch:
            folder = options.folder / engine if options.folder else Path(scratch)
            is_filled = folder.exists() and any(folder.iterdir())
            folder.mkdir(parents=True, exist_ok=True)
            with serve(engine, folder, options.option, keep=True) as served:
                if served.daemon:
                    asyncio.run(make_empty(served.url))
                if options.transfers and not is_filled:
                    fill(served.url, options.transfers)
                if served.postgres:
                    served.postgres.run("CHECKPOINT")
                asyncio.run(measure(engine, served, options))


if __name__ == "__main__":
    main()
