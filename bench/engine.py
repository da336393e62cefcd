"""CPU time of the engine for one small copy: everything but the requests to the stores, which are in memory here.

    python -m bench.engine [--objects N] [--at-once N] [--rounds N] [--python PATH …] [--profile]

`copy` is the work of `skyferry copy`: list, choose, claim, read, digest, write, verify, settle, with its durable ledger. `run` is
that of `skyferry run`: the same objects from events in a queue in SQLite, with metrics and logs. `trickle` is `run` with events
that are sent `--at-once` at a time, by the same process, the next ones once those before are copied. `stores` is the part of the
two stores: one read and one write of each object. Each PATH is the Python of another checkout. Rounds are interleaved.
`--once memory` prints the RSS at each tenth of a copy whose stores keep nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import pstats
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from prometheus_client import CollectorRegistry

from skyferry.cli.arguments.object_urls import locate_object
from skyferry.cli.commands.objects.copying import prepare, run
from skyferry.cli.commands.objects.copying.request import CopyJob, CopyOptions, OutputOptions
from skyferry.cli.event_loop import tune_collector
from skyferry.cli.render.copy_progress import CopyProgress
from skyferry.clock import SystemClock
from skyferry.config.load import load
from skyferry.config.settings import Settings
from skyferry.discovery.selection import CopySelection
from skyferry.engine.copy.digests import digest_bytes
from skyferry.engine.service import Service
from skyferry.events.native_encoding import encode_event
from skyferry.model import Attributes, Change, ObjectEvent, ObjectMeta, ObjectRef, Provider
from skyferry.observe import Fanout, LogObserver, MetricsObserver
from skyferry.ports import ANY, ObjectStore, Observer, Outgoing
from skyferry.records import Record
from skyferry.stores.memory import MemoryStore
from skyferry.wiring import build_service, open_queue
from skyferry.wiring.copy_ledgers import open_ledger

SIZE = 4096  # bytes of an object
KINDS = ("copy", "run", "trickle", "stores")
ROW = "{:>40} {:>9} {:>9}"
HEADERS = Attributes(content_type="application/octet-stream", metadata={"mtime": "1764374400.123456789"})


async def fill(store: ObjectStore, objects: int) -> None:
    """Write the source objects."""
    for n in range(objects):
        data = os.urandom(SIZE)
        await store.write(f"{n % 100:02d}/{n:06}", data, HEADERS, digest_bytes(data), ANY)


def cpu() -> float:
    """Return the CPU seconds of this process."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return spent.ru_utime + spent.ru_stime


async def run_until_idle(service: Service) -> None:
    """Work until no work is left."""
    await service.run(until_idle=True)


async def spend(
    service: Service,
    objects: int,
    profiler: cProfile.Profile | None,
    work: Callable[[Service], Awaitable[None]] = run_until_idle,
) -> float:
    """Return the CPU seconds per object of a service that copies all objects."""
    source = next(store for store in service._components.stores if store.name == "source")
    destination = next(store for store in service._components.stores if store.name == "destination")
    await fill(source, objects)
    tune_collector()
    before = cpu()
    if profiler:
        profiler.enable()
    await work(service)
    if profiler:
        profiler.disable()
    passed = cpu() - before
    arrived = [meta async for meta in destination.list()]
    assert len(arrived) == objects, f"{len(arrived)} of {objects} arrived"
    return passed / objects


def plan(folder: Path) -> CopyJob:
    """Return the copy between the two stores."""
    given = write_settings(folder)
    source, destination = (locate_object(f"memory://{name}/", given) for name in ("source", "destination"))
    settings = prepare.build_settings(source, destination, given, CopyOptions())
    return CopyJob(source, destination, settings, CopySelection(), shown=OutputOptions(quiet=True))


async def copy(folder: Path, objects: int, profiler: cProfile.Profile | None) -> float:
    """Measure `skyferry copy`."""
    job, progress = plan(folder), CopyProgress(quiet=True)
    ledger = open_ledger(folder / "copies" / "ledger.db")
    async with run._build_service(job, ledger, progress, {}) as service:
        spent = await spend(service, objects, profiler)
    assert progress.complete
    return spent


class Unkept(dict[str, Any]):
    """A destination that keeps no object."""

    def __setitem__(self, key: str, value: object) -> None:
        """Drop it."""


class Endless(dict[str, Any]):
    """A source whose objects all have the content of the first."""

    def __init__(self, objects: int, first: tuple[ObjectMeta, bytes]) -> None:
        super().__init__(dict.fromkeys((f"{n:07}" for n in range(objects)), None))
        self.first = first

    def __getitem__(self, key: str) -> tuple[ObjectMeta, bytes]:
        return replace(self.first[0], key=key), self.first[1]

    def get(self, key: str, default: object = None) -> Any:
        """Return the object."""
        return self[key]


def resident() -> float:
    """Return the RSS of this process in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


async def memory(folder: Path, objects: int, profiler: cProfile.Profile | None) -> float:
    """Print the RSS at each tenth of a `skyferry copy`. Return its growth from the first tenth to the last, in bytes per object."""
    job, progress, sizes, before = plan(folder), CopyProgress(quiet=True), list[float](), cpu()
    ledger = open_ledger(folder / "copies" / "ledger.db")
    async with run._build_service(job, ledger, progress, {}) as service:
        inner = {store.name: find_innermost(store) for store in service._components.stores}
        await fill(inner["source"], 1)
        inner["source"].bucket.objects = Endless(objects, next(iter(inner["source"].bucket.objects.values())))
        inner["destination"].bucket.objects = Unkept()
        tune_collector()
        working = asyncio.create_task(service.run(until_idle=True))
        while not working.done():
            await asyncio.sleep(0.02)
            if progress.copied * 10 >= (len(sizes) + 1) * objects:
                sizes.append(resident())
        await working
    print("MiB at each tenth:", *(f"{size:.0f}" for size in sizes), file=sys.stderr)
    print(f"CPU, us/object: {1e6 * (cpu() - before) / objects:.0f}", file=sys.stderr)
    assert progress.complete
    return (sizes[-1] - sizes[0]) / objects


def find_innermost(store: Any) -> Any:
    """Return the store inside of all decorators."""
    while hasattr(store, "inner"):
        store = store.inner
    return store


def make_messages(numbers: range) -> list[Outgoing]:
    """Return the events of these objects."""
    refs, now = (ObjectRef(Provider.MEMORY, "source", f"{n % 100:02d}/{n:06}") for n in numbers), time.time()
    events = (
        ObjectEvent(str(UUID(int=n)), Change.CREATED, ref, now, size=SIZE) for n, ref in zip(numbers, refs, strict=True)
    )
    return [Outgoing(encode_event(event)) for event in events]


async def work(folder: Path, objects: int, profiler: cProfile.Profile | None) -> float:
    """Measure `skyferry run`."""
    settings = write_settings(folder)
    queue = open_queue(settings)
    for start in range(0, objects, 5000):
        await queue.send(make_messages(range(objects)[start : start + 5000]))
    await queue.close()
    with ExitStack() as stack:
        async with build_service(settings, observe(stack, folder)) as service:
            return await spend(service, objects, profiler)


class Copies:
    """Counts the transfers that are done."""

    def __init__(self) -> None:
        self.count, self.changed = 0, asyncio.Event()

    def on(self, record: Record) -> None:
        """Count one."""
        if record.event == "transfer.done":
            self.count += 1
            self.changed.set()

    async def wait_for(self, count: int) -> None:
        """Wait until so many are done."""
        while self.count < count:
            self.changed.clear()
            await self.changed.wait()


async def trickle(at_once: int, folder: Path, objects: int, profiler: cProfile.Profile | None) -> float:
    """Measure `skyferry run` with events that come a few at a time."""
    settings, copies = write_settings(folder), Copies()
    queue = open_queue(settings)

    async def send(service: Service) -> None:
        running = asyncio.create_task(service.run())
        for start in range(0, objects, at_once):
            await queue.send(make_messages(range(objects)[start : start + at_once]))
            await copies.wait_for(min(objects, start + at_once))
        service.drain()
        await running

    with ExitStack() as stack:
        async with build_service(settings, Fanout([observe(stack, folder), copies])) as service:
            spent = await spend(service, objects, profiler, send)
    await queue.close()
    return spent


def write_settings(folder: Path) -> Settings:
    """Return the settings of a service with stores in memory, and a queue and a ledger in SQLite."""
    file = folder / "skyferry.yaml"
    file.write_text(
        f"workspace: {folder}\nstores: {{source: {{url: 'memory://source'}}, destination: {{url: 'memory://destination'}}}}\n"
        "routes: [{name: all, from: source, to: destination}]\n"
    )
    return load(file, {})


def observe(stack: ExitStack, folder: Path) -> Observer:
    """Return the observers of `skyferry run`."""
    log = stack.enter_context((folder / "log").open("ab"))
    return Fanout([MetricsObserver(CollectorRegistry()), LogObserver(log, "json", "info")])


async def stores(folder: Path, objects: int, profiler: cProfile.Profile | None) -> float:
    """Measure one read and one write of each object, without protections."""
    source, destination = (MemoryStore(name, SystemClock()) for name in ("source", "destination"))
    await fill(source, objects)
    tune_collector()
    before = cpu()
    async for meta in source.list():
        got = await source.read(meta.key, 0, SIZE)
        await destination.write(meta.key, got.data, got.meta.attributes, got.meta.checksums, ANY)
    return (cpu() - before) / objects


def once(kind: str, objects: int, at_once: int, profile: bool) -> float:
    """Measure one kind in this process."""
    profiler = cProfile.Profile() if profile else None
    with tempfile.TemporaryDirectory(dir=".") as folder:
        measures: dict[str, Callable[[Path, int, cProfile.Profile | None], Coroutine[Any, Any, float]]] = {
            "copy": copy,
            "run": work,
            "trickle": partial(trickle, at_once),
            "stores": stores,
            "memory": memory,
        }
        spent = asyncio.run(measures[kind](Path(folder).absolute(), objects, profiler))
    if profiler:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(45)
    return spent


def main(objects: int, at_once: int, rounds: int, pythons: list[str]) -> None:
    """Print the table."""
    spent: dict[str, list[float]] = {}
    for _ in range(rounds):
        for python in (sys.executable, *pythons):
            for kind in KINDS:
                command = [python, __file__, "--once", kind, "--objects", str(objects), "--at-once", str(at_once)]
                answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                spent.setdefault(f"{kind} {python[-34:]}", []).append(float(answer))
    print(ROW.format("CPU, us/object", "median", "least"))
    for name, values in spent.items():
        print(ROW.format(name, f"{1e6 * statistics.median(values):.0f}", f"{1e6 * min(values):.0f}"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=5000)
    parser.add_argument("--at-once", type=int, default=1, help="events that `trickle` sends together")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--python", action="append", default=[])
    parser.add_argument("--profile", action="store_true", help="with --once: the profile of the event loop")
    parser.add_argument("--once", choices=(*KINDS, "memory"), help="measure one kind in this process")
    given = parser.parse_args()
    if given.once:
        print(once(given.once, given.objects, given.at_once, given.profile))
    else:
        main(given.objects, given.at_once, given.rounds, given.python)
