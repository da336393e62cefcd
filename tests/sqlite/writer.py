"""Writes to a ledger until it is killed, and says on standard output what was acknowledged: python writer.py FILE NAME.

It writes one row for each line on its standard input.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from skyferry.clock import SystemClock
from skyferry.errors import LedgerError
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.sqlite import opened

opened.SECONDS = 0.0


async def main() -> None:
    """Never closes the ledger."""
    try:
        ledger = SqliteLedger(Path(sys.argv[1]), sys.argv[2], SystemClock())
    except LedgerError as error:
        print(error, flush=True)
        return
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        try:
            await ledger.set_identity(line.strip(), "x" * 3000)
        except LedgerError as error:
            print(error, flush=True)
        else:
            print("written", flush=True)


asyncio.run(main())
