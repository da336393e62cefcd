"""Events a second of 1, 2 and 4 workers on one queue and one ledger, and the CPU time of workers and server.

    python -m bench.fleet [ENGINE...] [--workers 1,2,4] [--events N] [--copies N] [--transfers N] [--folder DIR]

Engines: postgres, redis, sqlite. "gone" are events of objects that no longer exist: they are received, parsed, claimed, decided,
settled and acknowledged. "copy" are objects of 4 KiB from one folder to another, flushed and verified. Keys are random. The workers
run before the first event is sent; the clock stops once the ledger has all outcomes. CPU is user and system time for each event.
`--transfers` fills the ledger before. `--folder` keeps the filled data of PostgreSQL and SQLite for other runs, with what they add.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench._ledger_fill import fill as fill_ledger
from bench.ledger import make_transfer
from bench.ledger_engines import EPOCH, SPACING, cpu_of_server, cpu_of_trees, serve
from bench.worker import SIZE, events, fill

from skyferry.config.load import load
from skyferry.config.settings import Settings
from skyferry.model import Provider, State
from skyferry.ports import Ledger, WorkerState
from skyferry.testing.servers.engines.daemon import Daemon
from skyferry.wiring import open_ledger

ROW = "{:>10} {:>11} {:>8} {:>8} {:>10} {:>14} {:>14}"


def write_settings(folder: Path, url: str) -> Settings:
    """Write the configuration of the workers."""
    for name in ("source", "destination"):
        (folder / name).mkdir()
    base = url if url.startswith("postgresql:") else url.rpartition("/")[0]
    chosen = {
        "stores": {name: {"url": f"file://{folder / name}", "watch": False} for name in ("source", "destination")},
        "routes": [{"name": "all", "from": "source", "to": "destination"}],
        "queues": [{"name": "events", "url": f"{base}/events", "lease": "60s"}],
        "ledger": {"url": url, "lease": "60s"},
    }
    (folder / "skyferry.yaml").write_text(json.dumps(chosen))
    return load(folder / "skyferry.yaml", {})


async def wait_for_workers(ledger: Ledger, count: int) -> None:
    """Return once so many workers have sent a heartbeat."""
    while (await ledger.count_workers())[WorkerState.RUNNING] < count:
        await asyncio.sleep(0.2)


async def count_outcomes(ledger: Ledger) -> int:
    """Return the transfers that are settled."""
    found = await ledger.count_transfers()
    assert not found[State.DEAD]
    return found[State.DONE] + found[State.SKIPPED]


async def measure(kind: str, count: int, workers: int, folder: Path, url: str, daemon: Daemon | None) -> list[float]:
    """Return the events a second, and the CPU time of workers and of the server in µs for each."""
    chosen = write_settings(folder, url)
    first = (int(time.time()) - EPOCH) * SPACING  # no other run on a folder that stays has these numbers
    keys = [
        make_transfer(first + number, "random").key.replace("/", "-").replace("-", "/", 2) for number in range(count)
    ]
    messages = events(Provider.FILE, keys)
    if kind == "copy":
        (folder / "source" / keys[0]).parent.mkdir(parents=True)
        for number, key in enumerate(keys):
            (folder / "source" / key).write_bytes(number.to_bytes(8, "big") * (SIZE // 8))
    command = [sys.executable, "-m", "skyferry", "run", "--no-live", "--listen", "127.0.0.1:0", "--config"]
    with (folder / "log").open("wb") as log:
        running = [
            subprocess.Popen([*command, str(folder / "skyferry.yaml")], stdout=log, stderr=log) for _ in range(workers)
        ]
    ledger = await open_ledger(chosen)
    try:
        await wait_for_workers(ledger, workers)
        pids, settled = [process.pid for process in running], await count_outcomes(ledger)
        before, start = (cpu_of_trees(pids), cpu_of_server(daemon)), time.perf_counter()
        await fill(chosen, messages)
        while await count_outcomes(ledger) < settled + count:
            await asyncio.sleep(0.1)
        seconds = time.perf_counter() - start
        spent = (cpu_of_trees(pids) - before[0], cpu_of_server(daemon) - before[1])
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(60)
        await ledger.close()
    return [count / seconds, *(1e6 * cpu / count for cpu in spent)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="*", default=["postgres", "redis"])
    parser.add_argument("--workers", default="1,2,4")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--copies", type=int, default=5_000)
    parser.add_argument("--transfers", type=int, default=0, help="done transfers that the ledger has at the start")
    parser.add_argument("--folder", type=Path, help="keeps the data of PostgreSQL and SQLite, which are filled once")
    options = parser.parse_args()
    print(ROW.format("engine", "transfers", "kind", "workers", "events/s", "workers CPU us", "server CPU us"))
    for engine in options.engines:
        for kind, count in (("gone", options.events), ("copy", options.copies)):
            for workers in map(int, options.workers.split(",")):
                found = run(engine, kind, count, workers, options)
                figures = (f"{number:,.0f}" for number in found)
                print(ROW.format(engine, f"{options.transfers:,}", kind, workers, *figures), flush=True)


def run(engine: str, kind: str, count: int, workers: int, options: argparse.Namespace) -> list[float]:
    """Start the engine, fill the ledger, and measure once."""
    with tempfile.TemporaryDirectory(dir=".") as name:
        scratch = Path(name).resolve()
        data = options.folder.resolve() / engine if options.folder else scratch / "data"
        is_filled = data.exists() and any(data.iterdir())
        data.mkdir(parents=True, exist_ok=True)
        with serve(engine, data, (), keep=bool(options.folder)) as served:
            if options.transfers and not is_filled:
                fill_ledger(served.url, options.transfers)
            return asyncio.run(measure(kind, count, workers, scratch, served.url, served.daemon))


if __name__ == "__main__":
    main()
