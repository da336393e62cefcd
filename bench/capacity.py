"""Disk and memory that the ledger and a queue in a file need for many objects.

    python -m bench.capacity [OBJECTS]

Each object is claimed and settled as done through the ledger's port; then all are pruned, which keeps their placements; then
as many messages wait in a queue. Sizes are pages in use. Memory is that of this process. 200,000 objects take half a minute,
and the figures per million are those of this run times a factor.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from bench.ledger import BATCH, make_outcome, make_transfer

from skyferry.clock import SystemClock
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.model import Claim
from skyferry.ports import Outgoing, Settlement
from skyferry.queues.sqlite.queue import SqliteQueue

BODY = (
    b'{"schemaVersion":"1.0.0","eventId":"%032d","correlationId":"636c0810-0b4d-52fc-93c3-a46369b64470",'
    b'"timestamp":"2026-11-28T18:31:52.564750+00:00","eventType":"created","source":{"provider":"file","bucket":"inbox",'
    b'"key":"incoming/2026/000000000000/0.bin"},"size":5000}'
)


def used(path: Path) -> int:
    """Return the bytes in use in a SQLite file."""
    with closing(sqlite3.connect(path)) as db:
        pages, free, size = (
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    return int(size * (pages - free))


def memory() -> int:
    """Return the resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def batches(count: int) -> Iterator[range]:
    """Yield the numbers in batches."""
    for first in range(0, count, BATCH):
        yield range(first, min(first + BATCH, count))


async def fill_ledger(ledger: SqliteLedger, count: int) -> None:
    """Claim and settle this many transfers."""
    for numbers in batches(count):
        claims = await ledger.claim([make_transfer(number, "sequential") for number in numbers])
        await ledger.settle([Settlement(c, make_outcome(c.transfer)) for c in claims if isinstance(c, Claim)])


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("objects", type=int, nargs="?", default=200_000)
    count = parser.parse_args().objects
    factor = 1_000_000 / count / 2**20
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        ledger = SqliteLedger(path, "bench", SystemClock())
        before = memory()
        await fill_ledger(ledger, count)
        print(f"ledger, transfer and placement   {used(path) * factor:8,.0f} MiB per million objects")
        print(f"memory while it was filled       {(memory() - before) / 2**20:8,.0f} MiB for all")
        while await ledger.prune(-1.0):
            pass
        print(f"ledger, placement alone          {used(path) * factor:8,.0f} MiB per million keys")
        await ledger.close()
        path = Path(folder) / "queue.db"
        queue = SqliteQueue(path, "events", "bench", SystemClock())
        before = memory()
        for numbers in batches(count):
            await queue.send([Outgoing(BODY % number) for number in numbers])
        print(f"queue, a message of {len(BODY % 0):3} bytes     {used(path) * factor:8,.0f} MiB per million messages")
        print(f"memory while it was filled       {(memory() - before) / 2**20:8,.0f} MiB for all")
        await queue.close()


if __name__ == "__main__":
    asyncio.run(main())
