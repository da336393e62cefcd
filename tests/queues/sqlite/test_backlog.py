"""The memory of a process does not grow with the backlog of its queue."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, sys
from pathlib import Path
from skyferry.clock import SystemClock
from skyferry.ports import Outgoing
from skyferry.queues.sqlite.queue import SqliteQueue

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

async def main():
    queue = SqliteQueue(Path(sys.argv[1]), "events", "me", SystemClock())
    for sent in range(200):
        await queue.send([Outgoing(b"x" * 400)] * 500)
        if sent == 40:
            before = resident()
    print(resident() - before)
    await queue.close()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_long_backlog_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    """80,000 messages of 400 bytes after the first 20,000: less than 8 MiB of 32."""
    told = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path / "queue.db")], capture_output=True, check=True)
    assert int(told.stdout) < 8 * 2**20
