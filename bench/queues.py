"""Messages per second that the SQLite queue sends, receives and acknowledges durably, in batches.

    python bench/queues.py [--backlog N] [--batches N] [--size BYTES]

Measured on an empty queue, and on one with a backlog of a million messages, a tenth of them delayed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from skyferry.clock import SystemClock
from skyferry.ports import Message, Outgoing
from skyferry.queues.sqlite.queue import SqliteQueue

BATCH = 256
T = TypeVar("T")


async def time_batches(batches: int, step: Callable[[int], Awaitable[T]]) -> tuple[float, list[T]]:
    """Run the batches. Return the messages per second and the results."""
    begin = time.perf_counter()
    results = [await step(number) for number in range(batches)]
    return batches * BATCH / (time.perf_counter() - begin), results


async def fill(queue: SqliteQueue, count: int, body: bytes) -> None:
    """Send a backlog, every tenth message delayed."""
    ready, late = Outgoing(body), Outgoing(body, delay=86_400.0)
    for _ in range(0, count, 10_000):
        await queue.send(([ready] * 9 + [late]) * 1000)


async def measure(queue: SqliteQueue, batches: int, body: bytes) -> list[float]:
    """Return the messages per second sent, received, acknowledged and all three, then the milliseconds of a `depth`."""
    messages = [Outgoing(body)] * BATCH

    async def receive(_: int) -> list[Message]:
        return await queue.receive(BATCH, 0)

    sent, _ = await time_batches(batches, lambda _: queue.send(messages))
    received, got = await time_batches(batches, receive)
    acked, _ = await time_batches(batches, lambda number: queue.ack(got[number]))
    begin = time.perf_counter()
    await queue.depth()
    return [sent, received, acked, 1 / (1 / sent + 1 / received + 1 / acked), (time.perf_counter() - begin) * 1000]


async def main(backlog: int, batches: int, size: int) -> None:
    """Print the table."""
    body = (b'{"schemaVersion": "1.0.0", "eventId": "' + b"e" * size)[: size - 2] + b'"}'
    print(f"{BATCH} messages of {size} bytes a batch, {batches} batches, one process")
    print(f"{'backlog':>10} {'sent/s':>10} {'received/s':>10} {'acked/s':>10} {'all three/s':>12} {'depth, ms':>10}")
    for count in (0, backlog):
        with tempfile.TemporaryDirectory(dir=".") as folder:
            queue = SqliteQueue(Path(folder) / "queue.db", "bench", f"bench-{os.getpid()}", SystemClock())
            await fill(queue, count, body)
            figures = await measure(queue, batches, body)
            await queue.close()
        print(f"{count:>10,}" + "".join(f" {f:>{w},.0f}" for f, w in zip(figures, (10, 10, 10, 12, 10), strict=True)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backlog", type=int, default=1_000_000)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--size", type=int, default=300)
    options = parser.parse_args()
    asyncio.run(main(options.backlog, options.batches, options.size))
