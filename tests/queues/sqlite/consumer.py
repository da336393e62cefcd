"""A process of its own on a queue file: `consumer.py PATH OWNER work|hold|send|create`. What it prints is durable."""

from __future__ import annotations

import asyncio
import sys
from itertools import count
from pathlib import Path

from skyferry.clock import SystemClock
from skyferry.ports import Outgoing
from skyferry.queues.sqlite.queue import SqliteQueue


async def work(queue: SqliteQueue) -> None:
    """Say so, then ack until the queue is empty; print what was acked."""
    print("at work", flush=True)
    while True:
        batch = await queue.receive(16, 0.2)
        await queue.ack(batch)
        for message in batch:
            print(message.body.decode(), flush=True)
        depth = await queue.depth()
        if not batch and depth.ready + depth.leased == 0:
            return


async def hold(queue: SqliteQueue) -> None:
    """Lease 100 messages, say so, and never come to an end."""
    batch = await queue.receive(100, 10)
    print(len(batch), flush=True)
    await asyncio.sleep(3600)


async def send(queue: SqliteQueue) -> None:
    """Send without end; print the id of what was sent."""
    while True:
        for name in await queue.send([Outgoing(b"x")] * 3):
            print(name, flush=True)


async def create(folder: Path, owner: str) -> None:
    """Open one new file after the other: the next when told to, by a line."""
    for number in count():
        queue = SqliteQueue(folder / f"{number}.db", "shared", owner, SystemClock())
        print(number, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await queue.close()


async def main(path: str, owner: str, what: str) -> None:
    """Do it with leases far longer than any test, so that nothing comes again by waiting."""
    if what == "create":
        await create(Path(path), owner)
    queue = SqliteQueue(Path(path), "shared", owner, SystemClock(), lease=3600)
    await {"work": work, "hold": hold, "send": send}[what](queue)
    await queue.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
