"""Events and durable, verified copies per second through the whole worker, on SQLite queue and ledger, in one process.

    python -m bench.worker [--events N] [--copies N] [--profile]

"decide": each event is new, has a distinct key, and is older than the version at the destination. It is received, parsed,
matched, claimed, decided, settled and acknowledged without a request to a store. "gone": the same for objects that no longer
exist, with requests to a store in memory. "duplicate": the same events again, settled before. "copy": 4 KiB objects from one
folder to another, each with fsync of file and folder, reading back, SHA-256 and CRC32C, preconditions and stamp. "bare": only
the steps that every durable copy needs, in as many threads: read, write, fsync, rename, fsync of the folder. "Into memory": a
copy without the destination's disk.
User time, system time and context switches are those of the whole process, per event.
"metrics and logs" adds the observers of `skyferry run`, with the log in a file.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import json
import os
import pstats
import resource
import tempfile
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from prometheus_client import CollectorRegistry

from skyferry.config.load import load
from skyferry.config.settings import Settings
from skyferry.engine.consume.intake import EventReader
from skyferry.events.native_encoding import encode_event
from skyferry.model import (
    Change,
    Checksums,
    Claim,
    ObjectEvent,
    ObjectRef,
    Placement,
    Position,
    Provider,
    Receipt,
)
from skyferry.observe import Fanout, LogObserver, MetricsObserver
from skyferry.ports import Done, Observer, Outgoing, Settlement
from skyferry.records import Record
from skyferry.routing.routes import Routes
from skyferry.wiring import build_service, open_ledger, open_queue

SIZE = 4096
SUMS = Checksums(crc32c="00000000", sha256="0" * 64)
OLDER, NEWER = (Position("gcs-generation", f"{generation:020d}.{1:020d}") for generation in (1, 2))
ROW = "{:<34} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9}"


class Silence:
    """Ignores all records."""

    def on(self, record: Record) -> None:
        """Ignore one record."""


def settings(folder: Path, source: str, destination: str = "") -> Settings:
    """Return the embedded default with these stores."""
    stores = {
        "source": {"url": source, "watch": False},
        "destination": {"url": destination or source.replace("source", "destination")},
    }
    routes = [{"name": "all", "from": "source", "to": "destination"}]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "skyferry.yaml"
    file.write_text(json.dumps({"workspace": str(folder), "stores": stores, "routes": routes}))
    return load(file, {})


def events(provider: Provider, keys: Sequence[str], position: Position | None = None) -> list[Outgoing]:
    """Make one event per object."""
    now = time.time()
    refs = [ObjectRef(provider, "source", key) for key in keys]
    made = [ObjectEvent(str(uuid.uuid4()), Change.CREATED, ref, now, position=position, size=SIZE) for ref in refs]
    return [Outgoing(encode_event(event)) for event in made]


def make_keys(count: int) -> list[str]:
    """Make the keys of objects in a hundred folders."""
    return [f"{n % 100:02d}/{n}.bin" for n in range(count)]


async def settle_newer(chosen: Settings, messages: list[Outgoing]) -> None:
    """Settle a newer version of each object in the ledger."""
    reader, ledger, now = EventReader(Routes(chosen)), await open_ledger(chosen), time.time()
    for start in range(0, len(messages), 5000):
        parsed = [reader.parse(message.body, {}).events[0] for message in messages[start : start + 5000]]
        transfers = [reader.match(replace(event, position=NEWER))[0] for event in parsed]
        settlements = []
        for transfer, claim in zip(transfers, await ledger.claim(transfers), strict=True):
            assert isinstance(claim, Claim)
            receipt = Receipt("1", "1", SIZE, SUMS, SUMS, SUMS, NEWER, now, now, 1)
            placement = Placement(
                transfer.store, transfer.key, transfer.source, False, (NEWER,), now, "1", transfer.id, now
            )
            settlements.append(Settlement(claim, Done(receipt, placement)))
        assert all(await ledger.settle(settlements))
    await ledger.close()


async def fill(chosen: Settings, messages: list[Outgoing]) -> None:
    """Send the messages to the queue."""
    queue = open_queue(chosen)
    for start in range(0, len(messages), 5000):
        await queue.send(messages[start : start + 5000])
    await queue.close()


class Spent:
    """Time, CPU time and context switches of this process, all threads together, until the last `mark`."""

    def __init__(self) -> None:
        self.began, self.before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)

    def mark(self) -> None:
        """Count up to now."""
        after, before = resource.getrusage(resource.RUSAGE_SELF), self.before
        self.seconds = time.perf_counter() - self.began
        self.user, self.system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
        self.switches = after.ru_nvcsw + after.ru_nivcsw - before.ru_nvcsw - before.ru_nivcsw

    def row(self, name: str, count: int) -> str:
        """Format a row of the table."""
        micros = (f"{spent / count * 1e6:,.0f}" for spent in (self.user, self.system))
        rate, switches = f"{count / self.seconds:,.0f}", f"{self.switches / count:.1f}"
        return ROW.format(name, count, f"{self.seconds:.2f}", rate, *micros, switches)


@dataclass
class UntilAcked:
    """Marks each acknowledgement, so that waiting after the last one is not counted."""

    spent: Spent
    observer: Observer

    def on(self, record: Record) -> None:
        """Pass one record on."""
        self.observer.on(record)
        if record.event == "message.acked":
            self.spent.mark()


async def work(chosen: Settings, observer: Observer) -> Spent:
    """Process the backlog and return its cost up to the last acknowledgement."""
    seen = UntilAcked(Spent(), observer)
    async with build_service(chosen, seen) as service:
        gc.freeze()  # as `skyferry run` does
        seen.spent = Spent()
        await service.run(until_idle=True)
    return seen.spent


def open_observer(stack: ExitStack, folder: Path, observed: bool) -> Observer:
    """Return the observers of `skyferry run`, or one that ignores all records."""
    if not observed:
        return Silence()
    log = stack.enter_context((folder / "log").open("ab"))
    return Fanout([MetricsObserver(CollectorRegistry()), LogObserver(log, "json", "info")])


def measure(name: str, chosen: Settings, messages: list[Outgoing], *, observed: bool, profile: bool) -> None:
    """Measure the messages and print a row."""
    with ExitStack() as stack:
        seen = open_observer(stack, chosen.workspace, observed)
        asyncio.run(fill(chosen, messages))
        profiler = cProfile.Profile() if profile else None
        if profiler:
            profiler.enable()
        spent = asyncio.run(work(chosen, seen))
        if profiler:
            profiler.disable()
            pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
    print(spent.row(name, len(messages)), flush=True)


def bare(folder: Path, copies: int) -> Spent:
    """Return the cost of the steps that every durable copy needs."""
    (folder / "bare").mkdir()
    parent = os.open(folder / "bare", os.O_RDONLY)

    def copy(n: int) -> None:
        data = (folder / "source" / f"{n % 100:02d}" / f"{n}.bin").read_bytes()
        file = os.open(f"{n}.tmp", os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=parent)
        os.write(file, data)
        os.fsync(file)
        os.close(file)
        os.rename(f"{n}.tmp", str(n), src_dir_fd=parent, dst_dir_fd=parent)
        os.fsync(parent)

    spent = Spent()
    with ThreadPoolExecutor(4) as threads:
        for _ in threads.map(copy, range(copies)):
            pass
    spent.mark()
    os.close(parent)
    return spent


def main(decisions: int, copies: int, profile: bool) -> None:
    """Print the table."""
    print(ROW.format("", "events", "seconds", "events/s", "user, us", "sys, us", "switches"))
    # Nothing is deleted before the end: ext4 does not reuse recently freed blocks and would search long for others.
    with tempfile.TemporaryDirectory(dir=".") as name:
        for observed in (False, True):
            rows(
                Path(name) / ("observed" if observed else "silent"),
                decisions,
                copies,
                observed=observed,
                profile=profile,
            )


def rows(folder: Path, decisions: int, copies: int, *, observed: bool, profile: bool) -> None:
    """Print the rows with or without observers."""
    suffix = ", metrics and logs" if observed else ""
    chosen = settings(folder / "decide", "memory://source")
    messages = events(Provider.MEMORY, make_keys(decisions), OLDER)
    asyncio.run(settle_newer(chosen, messages))
    measure("decide" + suffix, chosen, messages, observed=observed, profile=profile)
    chosen = settings(folder / "gone", "memory://source")
    messages = events(Provider.MEMORY, make_keys(decisions))
    measure("gone" + suffix, chosen, messages, observed=observed, profile=profile)
    measure("duplicate" + suffix, chosen, messages, observed=observed, profile=profile)
    chosen = settings(folder / "copy", "file://source")
    prepare(chosen.workspace, copies)
    if not observed:
        print(bare(chosen.workspace, copies).row("bare copy 4 KiB", copies), flush=True)
        lost = settings(folder / "lost", (chosen.workspace / "source").absolute().as_uri(), "memory://destination")
        measure(
            "copy 4 KiB into memory", lost, events(Provider.FILE, make_keys(copies)), observed=observed, profile=profile
        )
    measure("copy 4 KiB" + suffix, chosen, events(Provider.FILE, make_keys(copies)), observed=observed, profile=profile)
    made = sum(path.is_file() for path in (chosen.workspace / "destination").glob("[0-9]*/*"))
    assert made == copies, f"{made} of {copies} arrived"


def prepare(folder: Path, copies: int) -> None:
    """Make the source objects and the destination folder."""
    (folder / "destination").mkdir()
    for n in range(copies):
        path = folder / "source" / f"{n % 100:02d}" / f"{n}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(SIZE))
    os.sync()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--copies", type=int, default=20_000)
    parser.add_argument("--profile", action="store_true", help="show where the event loop's thread spends its time")
    given = parser.parse_args()
    main(given.events, given.copies, given.profile)
