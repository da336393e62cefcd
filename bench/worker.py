"""Events and durable, verified copies a second through the whole worker, on the SQLite queue and ledger, in one process.

    python -m bench.worker [--events N] [--copies N] [--profile]

"decide": each event is fresh, of a key of its own, and older than what its destination holds: it is received, parsed,
matched, claimed, decided, settled and acked, and no store is asked. "gone": the same of objects that are not there any
more, so a store in memory is asked. "duplicate": the same events again, settled before. "copy": 4 KiB objects from one
folder to another, each with fsync of file and folder, read back, SHA-256 and CRC32C, preconditions and stamp; "bare" does
only what no durable copy can do without, in as many threads: read, write, fsync, rename, fsync of the folder. "Into
memory" is a copy without what the destination's disk takes.
User and system time and context switches are those of the whole process, for each event.
With "metrics and logs" the observers are those of `skyferry run`, the lines go to a file.
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
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from prometheus_client import CollectorRegistry

from skyferry.config.load import load
from skyferry.config.settings import Settings
from skyferry.events.native import encode_event
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
from skyferry.wiring import Reader, build, open_ledger, open_queue

SIZE = 4096
SUMS = Checksums(crc32c="00000000", sha256="0" * 64)
OLDER, NEWER = (Position("gcs-generation", f"{generation:020d}.{1:020d}") for generation in (1, 2))
ROW = "{:<34} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9}"


class Silence:
    """Observes nothing."""

    def on(self, record: Record) -> None:
        """Hear it."""


def settings(folder: Path, source: str, destination: str = "") -> Settings:
    """The embedded default, but for the stores."""
    stores = {
        "source": {"url": source, "watch": False},
        "destination": {"url": destination or source.replace("source", "destination")},
    }
    routes = [{"name": "all", "from": "source", "to": "destination"}]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "skyferry.yaml"
    file.write_text(json.dumps({"workspace": str(folder), "stores": stores, "routes": routes}))
    return load(file, {})


def events(provider: Provider, count: int, position: Position | None = None) -> list[Outgoing]:
    """One for each object."""
    now = time.time()
    refs = [ObjectRef(provider, "source", f"{n % 100:02d}/{n}.bin") for n in range(count)]
    made = [ObjectEvent(str(uuid.uuid4()), Change.CREATED, ref, now, position=position, size=SIZE) for ref in refs]
    return [Outgoing(encode_event(event)) for event in made]


async def place(chosen: Settings, messages: list[Outgoing]) -> None:
    """Let the ledger know a newer version of each."""
    reader, ledger, now = Reader(Routes(chosen)), open_ledger(chosen), time.time()
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
    """Put them into the queue."""
    queue = open_queue(chosen)
    for start in range(0, len(messages), 5000):
        await queue.send(messages[start : start + 5000])
    await queue.close()


class Spent:
    """What a stretch of work takes of this process, all threads together: until `mark` was called last."""

    def __init__(self) -> None:
        self.began, self.before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)

    def mark(self) -> None:
        """Count what was spent up to now."""
        after, before = resource.getrusage(resource.RUSAGE_SELF), self.before
        self.seconds = time.perf_counter() - self.began
        self.user, self.system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
        self.switches = after.ru_nvcsw + after.ru_nivcsw - before.ru_nvcsw - before.ru_nivcsw

    def row(self, name: str, count: int) -> str:
        """Of the table."""
        micros = (f"{spent / count * 1e6:,.0f}" for spent in (self.user, self.system))
        rate, switches = f"{count / self.seconds:,.0f}", f"{self.switches / count:.1f}"
        return ROW.format(name, count, f"{self.seconds:.2f}", rate, *micros, switches)


@dataclass
class UntilAcked:
    """Marks each ack: what comes after the last one is only the waiting for more."""

    spent: Spent
    observer: Observer

    def on(self, record: Record) -> None:
        """Hear it."""
        self.observer.on(record)
        if record.event == "message.acked":
            self.spent.mark()


async def work(chosen: Settings, observer: Observer) -> Spent:
    """What it takes to work the backlog off, up to the last ack."""
    seen = UntilAcked(Spent(), observer)
    async with build(chosen, seen) as service:
        gc.freeze()  # as `skyferry run` does
        seen.spent = Spent()
        await service.run(until_idle=True)
    return seen.spent


def observer(stack: ExitStack, folder: Path, told: bool) -> Observer:
    """Those of `skyferry run`, or none."""
    if not told:
        return Silence()
    log = stack.enter_context((folder / "log").open("ab"))
    return Fanout([MetricsObserver(CollectorRegistry()), LogObserver(log, "json", "info")])


def measure(name: str, chosen: Settings, messages: list[Outgoing], *, told: bool, profile: bool) -> None:
    """One row."""
    with ExitStack() as stack:
        seen = observer(stack, chosen.workspace, told)
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
    """What the disk allows."""
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
    # Nothing is deleted before the end: ext4 does not take what was freed in the last minutes, and searches long for the rest.
    with tempfile.TemporaryDirectory(dir=".") as name:
        for told in (False, True):
            rows(Path(name) / ("told" if told else "silent"), decisions, copies, told=told, profile=profile)


def rows(folder: Path, decisions: int, copies: int, *, told: bool, profile: bool) -> None:
    """Those with these observers."""
    suffix = ", metrics and logs" if told else ""
    chosen = settings(folder / "decide", "memory://source")
    messages = events(Provider.MEMORY, decisions, OLDER)
    asyncio.run(place(chosen, messages))
    measure("decide" + suffix, chosen, messages, told=told, profile=profile)
    chosen = settings(folder / "gone", "memory://source")
    messages = events(Provider.MEMORY, decisions)
    measure("gone" + suffix, chosen, messages, told=told, profile=profile)
    measure("duplicate" + suffix, chosen, messages, told=told, profile=profile)
    chosen = settings(folder / "copy", "file://source")
    prepare(chosen.workspace, copies)
    if not told:
        print(bare(chosen.workspace, copies).row("bare copy 4 KiB", copies), flush=True)
        lost = settings(folder / "lost", (chosen.workspace / "source").absolute().as_uri(), "memory://destination")
        measure("copy 4 KiB into memory", lost, events(Provider.FILE, copies), told=told, profile=profile)
    measure("copy 4 KiB" + suffix, chosen, events(Provider.FILE, copies), told=told, profile=profile)
    made = sum(path.is_file() for path in (chosen.workspace / "destination").glob("[0-9]*/*"))
    assert made == copies, f"{made} of {copies} arrived"


def prepare(folder: Path, copies: int) -> None:
    """Sources, and a place for the copies."""
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
