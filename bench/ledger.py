"""Claims and settles per second, on an empty ledger and on one with many transfers.

    python -m bench.ledger [TRANSFERS] [--work N] [--keys sequential|random] [--folder DIR]

All transfers are new and distinct. They are claimed, then settled durably as done, with receipt and placement, in batches of
256, four batches at a time. The CPU time is that of both. The large ledger is filled by bulk SQL first, which takes half a
minute for five million transfers.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sqlite3
import tempfile
import time
from collections import deque
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

from skyferry.clock import SystemClock
from skyferry.ledgers import codec, rules
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.ledgers.sqlite.schema import HISTORY
from skyferry.model import Change, Checksums, Claim, ObjectRef, Placement, Position, Provider, Receipt, State, Transfer
from skyferry.ports import Done, Settlement

BATCH = 256
ROW = "{:>14} {:>12} {:>12} {:>12} {:>12} {:>10} {:>12}"
NUMBERS = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count) "
FILL = (
    "INSERT INTO transfers SELECT n, random(), random(), n, 2, 1, 0, 0, :now + n, :now + n, NULL, 'landing', '', NULL "
    "FROM numbers",
    "INSERT INTO details SELECT n, :transfer FROM numbers",
    "INSERT INTO receipts SELECT n, :receipt FROM numbers",
    "INSERT INTO places SELECT n, 'incoming/2026/' || printf('%s/%d.bin', CASE WHEN :random THEN lower(hex(randomblob(6))) "
    "ELSE printf('%012d', n) END, n), 'destination' FROM numbers",
    "INSERT INTO placements SELECT n, 'source', :placement FROM numbers",
)


def make_transfer(number: int, keys: str) -> Transfer:
    """Make a new transfer."""
    whole = blake2b(number.to_bytes(8, "big"), digest_size=32).hexdigest()
    digest, event = whole[:32], whole[32:]
    key = f"incoming/2026/{digest[:12] if keys == 'random' else f'{number:012}'}/{number}.bin"
    return Transfer(
        id=digest,
        route="landing",
        change=Change.CREATED,
        source=ObjectRef(Provider.AWS_S3, "source", key, "eu-west-1"),
        source_store="source",
        store="destination",
        key=key,
        event_id=f"{event[:8]}-{event[8:12]}-{event[12:16]}-{event[16:20]}-{event[20:]}",
        correlation_id=digest,
        occurred_at=1_700_000_000.0,
        position=Position("s3-sequencer", f"{number:020x}"),
        size=4096,
    )


def make_outcome(t: Transfer) -> Done:
    """Make the outcome of a transfer, with versions and checksums that no other has."""
    positions, version = (t.position,) if t.position else (), t.id[::-1]
    digest = blake2b(t.id.encode(), digest_size=32).hexdigest()
    sums, written = Checksums(crc32c=digest[:8], sha256=digest), digest[::-2]
    receipt = Receipt(version, written, 4096, sums, sums, sums, t.position, 1_700_000_000.0, 1_700_000_001.0, 1)
    source = replace(t.source, version=version)
    placed = Placement(t.store, t.key, source, False, positions, t.occurred_at, written, t.id, 1_700_000_001.0)
    return Done(receipt, placed)


def fill(path: Path, count: int, keys: str) -> None:
    """Insert done transfers by SQL alone, as claims and settles would have left them.

    Random keys are entered into their index one by one: an index that is built from them afterwards has full pages, which split.
    """
    db = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-2097152", "locking_mode=EXCLUSIVE"):
        db.execute(f"PRAGMA {pragma}")
    db.executescript(HISTORY.sql)
    indices = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").fetchall()
    if keys == "random":
        indices = [(name, sql) for name, sql in indices if name != "places_by_key"]
    for name, _ in indices:
        db.execute(f"DROP INDEX {name}")
    example = make_transfer(0, keys)
    names = {
        "count": count,
        "random": keys == "random",
        "now": rules.to_ticks(time.time()),  # a worker would prune older transfers
        "transfer": codec.pack_transfer(example),
        "receipt": codec.pack_receipt(make_outcome(example).receipt),
        "placement": codec.pack_placement(make_outcome(example).placement),
    }
    db.execute("BEGIN")
    for statement in FILL:
        db.execute(NUMBERS + statement, names)
    for _, sql in indices:
        db.execute(sql)
    for name in ("serial", "place", "fence", "state 2"):
        db.execute("INSERT OR REPLACE INTO counters VALUES (?, ?)", (name, count))
    db.execute("COMMIT")
    db.close()


async def measure(path: Path, count: int, keys: str) -> tuple[float, float, float]:
    """Return the seconds to claim `count` new transfers, the seconds to settle them, and the CPU seconds of both."""
    ledger = SqliteLedger(path, "bench", SystemClock())
    before = (await ledger.count_transfers())[State.DONE]
    work = [make_transfer(before + 10**9 + number, keys) for number in range(count)]
    batches = iter([work[i : i + BATCH] for i in range(0, count, BATCH)])
    settlements: deque[list[Settlement]] = deque()

    async def claim() -> None:
        for batch in batches:
            claims = await ledger.claim(batch)
            settlements.append([Settlement(c, make_outcome(c.transfer)) for c in claims if isinstance(c, Claim)])

    async def settle() -> None:
        while settlements:
            assert all(await ledger.settle(settlements.popleft()))

    cpu, times = _cpu(), [time.perf_counter()]
    for phase in (claim, settle):
        await asyncio.gather(*(phase() for _ in range(4)))
        times.append(time.perf_counter())
    used = _cpu() - cpu
    assert (await ledger.count_transfers())[State.DONE] == before + count
    await ledger.close()
    return times[1] - times[0], times[2] - times[1], used


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("transfers", type=int, nargs="?", default=5_000_000)
    parser.add_argument("--work", type=int, default=100_000, help="transfers to claim and settle")
    parser.add_argument("--keys", choices=("sequential", "random"), default="sequential")
    parser.add_argument(
        "--folder", type=Path, help="folder of the files, which stay there; default: a temporary folder"
    )
    options = parser.parse_args()
    print(ROW.format("transfers", "keys", "claims/s", "settles/s", "CPU us each", "file MiB", "filled in s"))
    with tempfile.TemporaryDirectory() as temporary:
        for count in (0, options.transfers):
            path = (options.folder or Path(temporary)) / f"ledger-{count}-{options.keys}.db"
            start = time.perf_counter()
            if count and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                fill(path, count, options.keys)
            filled = time.perf_counter() - start
            claims, settles, used = await measure(path, options.work, options.keys)
            rates = (f"{options.work / seconds:,.0f}" for seconds in (claims, settles))
            each, size = used / options.work * 1e6, path.stat().st_size / 2**20
            print(ROW.format(f"{count:,}", options.keys, *rates, f"{each:.1f}", f"{size:,.0f}", f"{filled:.1f}"))


if __name__ == "__main__":
    asyncio.run(main())
