"""A drill: two releases as real processes on one ledger and one queue, and the analysis of the chart between them.

The good release runs alone, then the next one starts beside it as a canary. A Prometheus scrapes both, and the queries of the
rendered AnalysisTemplate are asked as Argo Rollouts asks them. When a metric fails, the canary gets SIGTERM, as an aborted rollout
does it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from tests.absent import absent
from tests.deploy.argo import AnalysisRun
from tests.deploy.test_chart import CHART, _installed, render
from tests.e2e.rehearsal import Rehearsal
from tools import kubernetes

from skyferry.clock import SystemClock
from skyferry.clouds.credentials import fixed_credentials
from skyferry.errors import QueueError
from skyferry.ports import Outgoing
from skyferry.postgres.address import parse_postgres
from skyferry.postgres.pool import PoolOptions, PostgresPool
from skyferry.queues.postgres.queue import PostgresQueue
from skyferry.queues.postgres.scheme import FORM
from skyferry.testing.servers import PostgresServer, ServerMissing
from skyferry.testing.servers.process import free_ports
from skyferry.testing.servers.prometheus import Prometheus, prometheus

STABLE, CANARY = "5f6d7c8b9", "7b4c9d6f5"  # hashes of the pods' templates
HURRIED = ",".join(  # and patient with a machine whose cores are busy, where a process of the test waits for a core
    f"rollout.analysis.{name}" for name in ("window=4s", "initialDelay=3s", "interval=1s", "maxSlowdown=10")
)
RELEASE = Path(__file__).with_name("release.py")
RATE = 5  # objects at a time, PAUSE seconds after the last ones
PAUSE = 0.1
WELL = 6  # measurements after which a canary counts as good


@dataclass
class Drill:
    """The stores, the queue, and the processes."""

    rehearsal: Rehearsal
    queue: PostgresQueue
    environ: dict[str, str]
    ports: dict[str, int]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)

    async def start(self, name: str, *program: str | Path) -> None:
        """Start a release, and wait until it is ready, as a pod gets ready."""
        command = [sys.executable, *program, "run", "--no-live", "--config", self.rehearsal.config]
        command += ["--listen", f"127.0.0.1:{self.ports[name]}"]
        log = (self.rehearsal.folder / f"{name}.log").open("ab")
        folder = self.rehearsal.folder
        self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=self.environ)
        log.close()
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(self._is_ready, name):
                assert self.processes[name].poll() is None, (folder / f"{name}.log").read_text()
                await asyncio.sleep(0.1)

    async def stop(self, name: str) -> None:
        """End a release as the kubelet ends a pod."""
        self.processes[name].terminate()
        assert await asyncio.to_thread(self.processes[name].wait, 60) == 0

    async def load(self) -> None:
        """Write objects and send their events until cancelled."""
        while True:
            keys = [f"object {len(self.keys) + number}" for number in range(RATE)]
            for key in keys:
                (self.rehearsal.folder / "source" / key).write_bytes(os.urandom(200))
            await self.queue.send([Outgoing(self.rehearsal.event(key)) for key in keys])
            self.keys += keys
            await asyncio.sleep(PAUSE)

    def records(self, name: str) -> list[dict[str, Any]]:
        """The log of a release."""
        lines = (self.rehearsal.folder / f"{name}.log").read_text("utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]

    def count(self, name: str) -> Counter[str]:
        """Count the events in the log of a release."""
        return Counter(record["event"] for record in self.records(name))

    async def settle(self) -> None:
        """Wait until every object is at the destination."""
        async with asyncio.timeout(120):
            while (depth := await self.queue.depth()).ready + depth.leased + depth.delayed or self.rehearsal.same():
                await asyncio.sleep(0.25)

    def skyferry(self, *command: str) -> str:
        """Run a command as an operator does."""
        program = [sys.executable, "-m", "skyferry", *command, "--config", str(self.rehearsal.config)]
        folder = self.rehearsal.folder
        done = subprocess.run(program, capture_output=True, text=True, cwd=folder, env=self.environ, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _is_ready(self, name: str) -> bool:
        try:
            urlopen(f"http://127.0.0.1:{self.ports[name]}/ready", timeout=5).close()
        except OSError:
            return False
        return True


@asynccontextmanager
async def drilling(server: PostgresServer, folder: Path) -> AsyncIterator[Drill]:
    database = server.create_database()
    where = f"postgresql://{server.user}@{server.address}/{database}"
    config = {
        "stores": {"source": {"url": "file://source", "watch": False}, "destination": {"url": "file://destination"}},
        "routes": [{"name": "objects", "from": "source", "to": "destination"}],
        "queues": [{"name": "events", "url": f"{where}/events"}],
        "ledger": {"url": where},
        "limits": {"transfers": 8},
        "retry": {"initial_delay": "200ms", "max_delay": "500ms", "max_retries": 2},
        "log": {"format": "json", "level": "info"},
    }
    pool = PostgresPool(
        "q",
        PoolOptions(parse_postgres(f"{where}/events", FORM, names=1, allow_plain=False)),
        fixed_credentials(server.password),
        QueueError,
    )
    stable, canary = free_ports(2)
    environ = {**os.environ, "PGPASSWORD": server.password}
    drill = Drill(
        Rehearsal(folder, config),
        PostgresQueue("events", pool, "test", SystemClock()),
        environ,
        {"stable": stable, "canary": canary},
    )
    try:
        yield drill
    finally:
        for process in drill.processes.values():
            process.kill()
            process.wait()
        await drill.queue.close()
        drill.rehearsal.log.close()


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return render(_installed(kubernetes.helm), CHART / "ci" / "rollout.yaml", "--set", HURRIED)["AnalysisTemplate"]


@contextmanager
def scraping(drill: Drill) -> Iterator[Prometheus]:
    """A Prometheus with the labels that a ServiceMonitor gives to the series of a pod."""
    pods = {"stable": f"prod-skyferry-{STABLE}-x2x7k", "canary": f"prod-skyferry-{CANARY}-9q4zt"}
    labels = {f"127.0.0.1:{drill.ports[name]}": {"namespace": "ferry", "pod": pod} for name, pod in pods.items()}
    try:
        with prometheus(list(labels), "groups: []", labels) as server:
            yield server
    except ServerMissing as missing:
        absent(missing)


async def analyse(server: Prometheus, template: dict[str, Any], enough: int) -> AnalysisRun:
    """Measure as often as the template says, until a metric fails or `enough` measurements were good."""
    run = AnalysisRun(template, {"canary": CANARY, "stable": STABLE})
    metric = template["spec"]["metrics"][0]
    async with asyncio.timeout(
        60
    ):  # the initial delay below begins when both have been scraped, however busy the machine is
        while len(await asyncio.to_thread(server.query, "skyferry_build_info")) < 2:
            await asyncio.sleep(0.1)
    await asyncio.sleep(float(metric["initialDelay"].removesuffix("s")))
    for _ in range(enough):
        await asyncio.to_thread(run.measure, server.query)
        if run.failed:
            break
        await asyncio.sleep(float(metric["interval"].removesuffix("s")))
    return run


async def test_a_good_release_passes(postgres_server: PostgresServer, tmp_path: Path, template: dict[str, Any]) -> None:
    async with drilling(postgres_server, tmp_path) as drill:
        await drill.start("stable", "-m", "skyferry")
        load = asyncio.create_task(drill.load())
        with scraping(drill) as server:
            await drill.start("canary", RELEASE, "none")
            run = await analyse(server, template, WELL)
            versions = server.query("count by (version) (skyferry_build_info)")
        assert run.failed == [], [(metric.name, metric.values) for metric in run.metrics]
        assert {each["metric"]["version"] for each in versions} >= {"9.0.0"}
        assert len(versions) == 2
        await drill.stop("stable")  # the rollout ends: the new release takes over
        load.cancel()
        await drill.settle()
        assert drill.count("canary")["transfer.done"] > 0
        assert done_twice(drill) == []


async def test_a_hand_over_with_a_pause_loses_nothing(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """Blue drains, then green starts, and later the same the other way round. Events arrive all the time."""
    async with drilling(postgres_server, tmp_path) as drill:
        await drill.start("stable", "-m", "skyferry")
        load = asyncio.create_task(drill.load())
        for before, after, program in (
            ("stable", "canary", [RELEASE, "none"]),
            ("canary", "stable", ["-m", "skyferry"]),
        ):
            await until_done(drill, before)
            began = time.monotonic()
            await drill.stop(before)
            drained = time.monotonic() - began
            done = drill.count(before)["transfer.done"]
            await drill.start(after, *program)
            print(
                f"{before} to {after}: drained in {drained:.1f} s, pause {time.monotonic() - began:.1f} s, {done} done"
            )
        load.cancel()
        await drill.settle()
        assert done_twice(drill) == []
        assert json.loads(drill.skyferry("dead-letters", "list", "--json"))["items"] == []


async def until_done(drill: Drill, name: str) -> None:
    """Wait until a release has copied some objects."""
    async with asyncio.timeout(60):
        while drill.count(name)["transfer.done"] < 20:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("fault", ["corrupt", "slow"])
async def test_a_broken_release_is_found_and_nothing_is_lost(
    postgres_server: PostgresServer, tmp_path: Path, template: dict[str, Any], fault: str
) -> None:
    expected = {"corrupt": {"failures"}, "slow": {"slowness", "stuck"}}[fault]
    async with drilling(postgres_server, tmp_path) as drill:
        await drill.start("stable", "-m", "skyferry")
        load = asyncio.create_task(drill.load())
        with scraping(drill) as server:
            await drill.start("canary", RELEASE, fault)
            began = time.monotonic()
            run = await analyse(server, template, 120)
            assert expected & {*run.failed}, [(metric.name, metric.values) for metric in run.metrics]
            found = time.monotonic() - began
        await drill.stop("canary")
        stopped = time.monotonic() - began
        load.cancel()
        counts = drill.count("canary")
        print(f"{fault}: found after {found:.1f} s, ended after {stopped:.1f} s, {len(drill.keys)} objects; {counts}")
        if counts["transfer.dead"]:
            drill.skyferry("dead-letters", "redrive", "--all")
        await drill.settle()
        assert json.loads(drill.skyferry("dead-letters", "list", "--json"))["items"] == []
        assert done_twice(drill) == []


def done_twice(drill: Drill) -> Sequence[str]:
    """The transfers that were settled as done more than once, by any release."""
    records = [record for name in drill.processes for record in drill.records(name)]
    done = Counter(str(record["transfer_id"]) for record in records if record["event"] == "transfer.done")
    return [transfer for transfer, times in done.items() if times > 1]
