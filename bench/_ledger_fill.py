"""Fill a ledger with settled transfers before it is measured."""

from __future__ import annotations

import asyncio
import os

import asyncpg
from bench.ledger import make_outcome, make_transfer

from skyferry.config.settings import LedgerSettings, Settings
from skyferry.ledgers import codec, rules
from skyferry.model import Claim
from skyferry.ports import Settlement
from skyferry.wiring import open_ledger

BATCH = 1000
FIRST = 10**15  # number of the first event: no client has it
POSTGRES = (
    "INSERT INTO skyferry.places (key, store, bucket, placement) SELECT convert_to('incoming/2026/' || substr(md5(n::text), 1, 12) "
    "|| '/' || n || '.bin', 'UTF8'), 'destination', 'source', $2::text FROM generate_series(1, $1::bigint) AS n",
    "INSERT INTO skyferry.transfers (id, place, state, owner, created_at, updated_at, route, transfer, receipt) "
    "SELECT decode(md5('transfer ' || id), 'hex'), id, 2, 0, $1::bigint + id, $1 + id, 'landing', $2::text, $3::text "
    "FROM skyferry.places",
    "UPDATE skyferry.owners SET counts[3] = $1 WHERE id = 0",
)


async def fill_ledger(url: str, count: int) -> None:
    """Make a ledger with `count` transfers that are done: in PostgreSQL by SQL, elsewhere by claims and settlements."""
    ledger = await open_ledger(Settings(ledger=LedgerSettings(url=url, lease=600.0)))
    if url.startswith("postgresql:"):
        await _fill_postgres(url, count)
    else:
        for start in range(0, count, BATCH):
            numbers = range(FIRST + start, FIRST + min(start + BATCH, count))
            claims = await ledger.claim([make_transfer(number, "random") for number in numbers])
            granted = [claim for claim in claims if isinstance(claim, Claim)]
            await ledger.settle([Settlement(claim, make_outcome(claim.transfer)) for claim in granted])
    await ledger.close()


async def _fill_postgres(url: str, count: int) -> None:
    """Insert what claims and settlements would have left."""
    example = make_transfer(FIRST, "random")
    outcome = make_outcome(example)
    receipt, placement = codec.pack_receipt(outcome.receipt), codec.pack_placement(outcome.placement)
    db = await asyncpg.connect(url, password=os.environ["PGPASSWORD"])
    places, transfers, counts = POSTGRES
    await db.execute(places, count, placement)
    await db.execute(transfers, rules.to_ticks(1_700_000_000.0), codec.pack_transfer(example), receipt)
    await db.execute(counts, count)
    await db.execute("VACUUM ANALYZE")
    await db.execute("CHECKPOINT")
    await db.close()


def fill(url: str, count: int) -> None:
    """Run `fill_ledger`, in a process that has no event loop."""
    asyncio.run(fill_ledger(url, count))
