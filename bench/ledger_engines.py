"""Events per second that a ledger decides, in front of its adapter alone: no queue and no stores.

    python -m bench.ledger_engines [ENGINE...] [--clients 1,2] [--events N] [--batch N] [--duplicates PERCENT] [--transfers N]
        [--before N] [--folder DIR] [--prewarm]

Engines: memory, sqlite, postgres, redis; without a name all that several processes can share. Each client process claims events
in batches, several at a time, and settles each as done, with receipt and placement. Duplicates are events that it has settled
before. All settlements are durable as the engine is by default; `--option` passes settings to the server. CPU is user and system
time, of all clients and of the server with its children, each per decided event; WAL is what PostgreSQL has logged for it.
`--transfers` fills the ledger before, by what is fast there: 10 million take a few minutes. `--before` decides events before the
clock starts: pages that are written again until the next checkpoint are logged in part only, and are in the caches.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from bench._ledger_fill import fill, make_empty
from bench.ledger import make_outcome, make_transfer

from skyferry.config.settings import LedgerSettings, Settings
from skyferry.model import Claim, Transfer
from skyferry.ports import Ledger, Settled, Settlement
from skyferry.testing.servers import postgres, redis
from skyferry.testing.servers.engines.daemon import Daemon
from skyferry.testing.servers.engines.postgres import PostgresServer
from skyferry.wiring import open_ledger

ROW = "{:>10} {:>11} {:>8} {:>10} {:>10} {:>15} {:>15} {:>9}"
TICKS = os.sysconf("SC_CLK_TCK")
SPACING = 10**8  # numbers of events for each client
CLIENTS = 64  # at most, in one run
EPOCH = 1_790_000_000  # runs on a folder that stays are numbered by the seconds since then
PREWARM = """SELECT sum(pg_prewarm(i.indexrelid)) FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
WHERE c.relnamespace = 'skyferry'::regnamespace"""


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine: the ledger's URL, and the server if there is one."""

    url: str
    daemon: Daemon | None = None
    postgres: PostgresServer | None = None

    def measure_wal(self) -> int:
        """Return the bytes that PostgreSQL has logged so far."""
        return int(self.postgres.run("SELECT pg_current_wal_insert_lsn() - '0/0'")) if self.postgres else 0


@contextmanager
def serve(engine: str, folder: Path, options: Sequence[str], *, keep: bool = False) -> Iterator[Engine]:
    """Start the engine. With `keep`, PostgreSQL has its data in the folder, also those of before."""
    if engine == "postgres":
        with postgres(*options, folder=folder if keep else None) as server:
            os.environ["PGPASSWORD"] = server.password
            yield Engine(f"postgresql://{server.user}@{server.address}/postgres", server.daemon, server)
            if keep:
                server.run("CHECKPOINT")  # stopping does not wait for a long one
    elif engine == "redis":
        with redis(*options) as redis_server:
            yield Engine(f"redis://{redis_server.address}/bench", redis_server.daemon)
    else:
        yield Engine(f"sqlite://{folder / 'ledger.db'}" if engine == "sqlite" else "memory://bench")


def cpu_of_server(daemon: Daemon | None) -> float:
    """Return the CPU seconds of a server and all of its children, also of those that have ended."""
    if daemon is None or daemon._children is None:
        return 0.0
    return cpu_of_trees([process.pid for process in daemon._children.processes])


def cpu_of_trees(pids: Iterable[int]) -> float:
    """Return the CPU seconds of these processes and all of their children, also of those that have ended."""
    wanted = set(pids)
    parents, used = {}, dict[int, int]()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        pid = int(stat.parent.name)
        parents[pid], used[pid] = int(fields[1]), sum(map(int, fields[11:15]))
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in wanted} - wanted
        wanted, grown = wanted | more, bool(more)
    return sum(used.get(pid, 0) for pid in wanted) / TICKS


class Workload:
    """The events of one client, made before the clock starts."""

    def __init__(self, client: int, options: argparse.Namespace) -> None:
        self._repeated = options.batch * options.duplicates // 100
        self._fresh = options.batch - self._repeated
        before, batches = (count // options.batch + options.at_once + 2 for count in (options.before, options.events))
        first = (options.run * CLIENTS + client) * SPACING
        start = first + before * self._fresh
        transfers = [make_transfer(start + number, options.keys) for number in range(batches * self._fresh)]
        self._outcomes = {t.id: make_outcome(t) for t in transfers}
        self._left = chain((make_transfer(number, options.keys) for number in range(first, start)), transfers)
        self._settled: list[Transfer] = []

    async def decide_batch(self, ledger: Ledger) -> int:
        """Claim and settle a batch. Return the number of decided events."""
        fresh = list(islice(self._left, self._fresh))
        answers = await ledger.claim(self._settled[: self._repeated] + fresh)
        claims = [answer for answer in answers if isinstance(answer, Claim)]
        outcomes = [self._outcomes.get(c.transfer.id) or make_outcome(c.transfer) for c in claims]
        recorded = await ledger.settle(list(map(Settlement, claims, outcomes)))
        assert all(recorded)
        self._settled = [*fresh, *self._settled][: self._repeated]
        return len(claims) + sum(isinstance(answer, Settled) for answer in answers)


async def work(url: str, client: int, options: argparse.Namespace) -> None:
    """Decide events as one client: first a batch, then, once there is a line on stdin, all."""
    ledger = await open_ledger(Settings(ledger=LedgerSettings(url=url, lease=600.0)))
    load = Workload(client, options)

    async def decide(events: int) -> int:
        decided = 0

        async def repeat() -> None:
            nonlocal decided
            while decided < events:
                count = await load.decide_batch(ledger)  # first: `decided` changes meanwhile
                decided += count

        await asyncio.gather(*(repeat() for _ in range(options.at_once)))
        return decided

    await load.decide_batch(ledger)
    await decide(options.before)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    before = _cpu()
    decided = await decide(options.events)
    print(json.dumps([decided, _cpu() - before]), flush=True)
    await ledger.close()


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(engine: str, clients: int, options: argparse.Namespace) -> None:
    """Run the clients side by side, and print a line."""
    options.run = int(time.time()) - EPOCH if options.folder else 0
    names = ("events", "batch", "duplicates", "at_once", "keys", "before", "run")
    arguments = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in names]
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder / engine if options.folder else Path(scratch)
        is_filled = folder.exists() and any(folder.iterdir()) if options.folder else False
        folder.mkdir(parents=True, exist_ok=True)
        with serve(engine, folder, options.option, keep=bool(options.folder)) as served:
            if served.daemon:
                asyncio.run(make_empty(served.url))
            if options.transfers and not is_filled:
                fill(served.url, options.transfers, analyze=not options.no_analyze)
            if options.prewarm and served.postgres:
                served.postgres.run("CREATE EXTENSION IF NOT EXISTS pg_prewarm")
                served.postgres.run(PREWARM)
            command = [sys.executable, "-m", "bench.ledger_engines", *arguments, "--url", served.url, "--client"]
            seconds, decided, used, server, wal = _run_clients([[*command, str(n)] for n in range(clients)], served)
    each = (f"{1e6 * cpu / decided:.1f}" for cpu in (used, server))
    rate, logged = f"{decided / seconds:,.0f}", f"{wal / decided:,.0f}"
    print(ROW.format(engine, f"{options.transfers:,}", clients, decided, rate, *each, logged), flush=True)


def _run_clients(commands: Sequence[Sequence[str]], served: Engine) -> tuple[float, int, float, float, int]:
    """Return the seconds, the decided events, the CPU seconds of clients and server, and the bytes of WAL."""
    running = [subprocess.Popen(each, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for each in commands]
    for process in running:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    logged = served.measure_wal()
    before, start = cpu_of_server(served.daemon), time.perf_counter()
    for process in running:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    found = [json.loads(process.stdout.readline()) for process in running if process.stdout]
    seconds = time.perf_counter() - start
    server = cpu_of_server(served.daemon) - before
    logged = served.measure_wal() - logged
    for process in running:
        process.communicate(timeout=60)
    decided, used = (sum(column) for column in zip(*found, strict=True))
    return seconds, decided, used, server, logged


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="*", default=["sqlite", "postgres", "redis"])
    parser.add_argument("--clients", default="1,2", help="numbers of client processes")
    parser.add_argument("--events", type=int, default=50_000, help="to decide, for each client")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--at-once", type=int, default=4, help="batches of a client at the same time")
    parser.add_argument("--duplicates", type=int, default=30, help="percent of the events")
    parser.add_argument("--keys", choices=("random", "sequential"), default="random", help="of the events")
    parser.add_argument("--transfers", type=int, default=0, help="done before, in the ledger")
    parser.add_argument(
        "--before", type=int, default=0, help="events to decide before the clock starts, for each client"
    )
    parser.add_argument("--folder", type=Path, help="keeps the data of PostgreSQL and SQLite, which are filled once")
    parser.add_argument("--prewarm", action="store_true", help="read the indexes of PostgreSQL into its buffers")
    parser.add_argument("--run", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument(
        "--no-analyze", action="store_true", help="leave PostgreSQL without statistics of these transfers"
    )
    parser.add_argument("--option", action="append", default=[], help="of the server, such as --option=fsync=off")
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--client", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client is not None:
        asyncio.run(work(options.url, options.client, options))
        return
    print(
        ROW.format(
            "engine", "transfers", "clients", "decided", "events/s", "client CPU us", "server CPU us", "WAL bytes"
        )
    )
    for engine in options.engines:
        for clients in map(int, options.clients.split(",")):
            measure(engine, 1 if engine == "memory" else clients, options)


if __name__ == "__main__":
    main()
