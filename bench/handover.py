"""A large object handed over between two hosts, by SIGTERM and by `kill -9` at 60 %, on PostgreSQL and on Redis.

    python -m bench.handover [--size 2GiB]

Both stores are buckets of Ceph's S3. Each worker has folders of its own, and reaches the destination by a proxy of its own, which
counts the parts. `waited` is the time between the signal and the first request of the other worker that changes the destination.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import signal
import sys
import tempfile
import time
from pathlib import Path

from bench.restart import fill
from tests.fleet.handover import AT_ONCE, MIB, PART, Engine, Handover, is_done, on_postgresql, on_redis

from skyferry.config.units import parse_size
from skyferry.testing.servers import RadosGateway, ServerMissing, postgres, radosgw, redis

LEASE = 10.0  # seconds
ROW = "{:<12} {:<8} {:>8} {:>10} {:>11} {:>10} {:>8} {:>8} {:>8}"


async def measure(engine: Engine, name: str, end: signal.Signals, gateway: RadosGateway, length: int) -> None:
    """Hand one object over, and print a row."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        content = Path(folder, "content")
        fill(content, length)
        scene = Handover(Path(folder), gateway, engine, LEASE)
        await scene.prepare(content)
        async with scene.worker("one") as one:
            await one.reach(lambda: len(one.proxy.stored) * PART >= 0.6 * length)
            sent, signalled = one.proxy.sent, time.monotonic()
            await one.end(end)
            async with scene.worker("two") as two:
                await two.reach(lambda: bool(two.proxy.changes()))
                waited = time.monotonic() - signalled
                await two.reach(lambda: is_done(two))
        again = one.proxy.sent + two.proxy.sent - length
        same, left = await asyncio.to_thread(scene.has, content), len(scene.uploads())
    figures = (f"{count / MIB:,.0f}" for count in (length, sent, again))
    row = (name, end.name, *figures, f"{waited:.1f}", "yes" if same else "NO", left, f"{time.monotonic() - began:.0f}")
    print(ROW.format(*row), flush=True)
    assert same
    assert left == 0
    assert again <= AT_ONCE * PART, "more than the parts in flight was sent again"


async def main(length: int) -> None:
    """Print the table."""
    print(f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}: python -m bench.handover {' '.join(sys.argv[1:])}")
    print(ROW.format("", "", "MiB", "sent by 1", "sent again", "waited s", "the same", "uploads", "seconds"))
    with postgres() as database, redis() as keys:
        for end in (signal.SIGTERM, signal.SIGKILL):
            for name, engine in (("postgresql", on_postgresql(database)), ("redis", on_redis(keys))):
                with radosgw() as gateway:  # a new one, whose memory is empty: once it is full, writes wait
                    await measure(engine, name, end, gateway, length)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=parse_size, default=2 * 2**30)
    try:
        asyncio.run(main(parser.parse_args().size))
    except ServerMissing as missing:
        print(missing)
