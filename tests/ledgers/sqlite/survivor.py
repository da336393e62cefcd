"""Claims and settles until it is killed, and says on standard output what was acknowledged: python survivor.py FILE NAME."""

from __future__ import annotations

import asyncio
import sys
from itertools import count
from pathlib import Path

from skyferry.clock import SystemClock
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.model import Claim
from skyferry.ports import Settlement
from skyferry.testing.ledger.harness import dead, done, transfer


async def work(ledger: SqliteLedger, name: str, task: int) -> None:
    """One batch after the other."""
    for batch in count():
        names = [f"{name}-{task}-{batch}-{number}" for number in range(5)]
        claims = [c for c in await ledger.claim([transfer(n) for n in names]) if isinstance(c, Claim)]
        outcomes = [dead() if number == 4 else done(c) for number, c in enumerate(claims)]
        answers = await ledger.settle([Settlement(c, o) for c, o in zip(claims, outcomes, strict=True)])
        for n, recorded in zip(names, answers, strict=True):
            sys.stdout.write(f"{n} {recorded}\n")
        sys.stdout.flush()


async def main() -> None:
    """Never ends."""
    ledger = SqliteLedger(Path(sys.argv[1]), sys.argv[2], SystemClock(), lease=3600.0)
    await ledger.claim([transfer(f"held by {sys.argv[2]}")])
    print("ready", flush=True)
    async with asyncio.TaskGroup() as tasks:
        for task in range(3):
            tasks.create_task(work(ledger, sys.argv[2], task))


asyncio.run(main())
