"""The alert rules and the dashboard, with a real Prometheus that scrapes real services."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry, start_http_server
from tests.absent import absent
from tests.docs.pages import DOCS
from tests.e2e.behind import TABLES, Late, Leaping, event, settings
from tools.dashboard import render_dashboard

from skyferry.clock import SystemClock
from skyferry.config.settings import Settings
from skyferry.errors import LedgerError, QueueError
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.model import ObjectRef, Provider
from skyferry.observe import MetricsObserver
from skyferry.ports import Heartbeat, Outgoing
from skyferry.ports.ledger.held_deletes import HeldDelete
from skyferry.queues.sqlite.queue import SqliteQueue
from skyferry.testing.servers import ServerMissing
from skyferry.testing.servers.process import free_ports
from skyferry.testing.servers.prometheus import Prometheus, prometheus
from skyferry.wiring import build_service
from skyferry.wiring import service as wiring

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yaml"
DASHBOARD = DEPLOY / "grafana" / "skyferry.json"
FIRED = 'count by (alertname) (count_over_time(ALERTS{alertstate="firing"}[10m]))'
FIRING = 'count by (alertname) (ALERTS{alertstate="firing"})'
FILES = {"SkyferryLedgerFailing", "SkyferryQueueFileFailing", "SkyferrySharedLimitsFallback"}
DIFFERENCES = {"SkyferryRoutesDiffer", "SkyferryLedgersDiffer"}
GAUGES = [f"skyferry_{name}" for name in ("ledger_transfers", "dead_letters_waiting", "workers", "queue_messages")]
IMPATIENT = re.sub(r"for: \d+m", "for: 0s", RULES.read_text("utf-8"))  # the same rules, without their waiting time


def rule_names() -> set[str]:
    (group,) = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return {rule["alert"] for rule in group["rules"]}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(wiring, "SystemClock", Leaping)
    yield
    Leaping.leap = 0.0


@contextmanager
def scraping(*targets: str, labels: Mapping[str, Mapping[str, str]] | None = None) -> Iterator[Prometheus]:
    try:
        with prometheus(targets, IMPATIENT, labels) as server:
            yield server
    except ServerMissing as missing:
        absent(missing)


@asynccontextmanager
async def served(configured: Settings) -> AsyncIterator[str]:
    """The address of a running service's metrics. Files that were damaged meanwhile may fail to close."""
    registry = CollectorRegistry()
    metrics = MetricsObserver(registry)
    (port,) = free_ports()
    server, thread = start_http_server(port, "127.0.0.1", registry)
    try:
        async with build_service(configured, metrics, metrics.update) as service:
            running = asyncio.create_task(service.run())
            try:
                yield f"127.0.0.1:{port}"
            finally:
                service.drain()
                with suppress(QueueError, LedgerError):
                    await running
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def send(configured: Settings, *messages: Outgoing, late: bool = False) -> None:
    queue = SqliteQueue(configured.workspace / "queue.db", "events", "test", Late() if late else SystemClock())
    try:
        await queue.send(messages)
    finally:  # also if it is cancelled, here too
        await asyncio.shield(queue.close())


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def names(server: Prometheus, expression: str) -> set[str]:
    found = await asyncio.to_thread(server.query, expression)
    return {series["metric"]["alertname"] for series in found}


async def until_fired(server: Prometheus, wanted: set[str]) -> None:
    seen = set[str]()
    with suppress(TimeoutError):
        async with asyncio.timeout(60):
            while not wanted <= (seen := await names(server, FIRED)):
                await asyncio.sleep(0.25)
    assert wanted <= seen, f"did not fire: {sorted(wanted - seen)}"


def wrong(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A destination that is down, one that denies access, a queue that is gone, and a slow store."""
    monkeypatch.setenv("KEY", "k")
    monkeypatch.setenv("SECRET", "s")
    identity = {"kind": "static", "key_env": "KEY", "secret_env": "SECRET"}
    (folder / "slow").mkdir()
    return settings(
        folder,
        stores={
            "source": {"url": "file://source", "watch": False},
            "down": {"url": "sim://destination", "simulator": {"outages": ["0s-1h"]}},
            "flaky": {"url": "sim://flaky?timeout=0.7&timeout_after=10ms"},
            "slow": {"url": "file://slow", "requests_per_second": 20},
        },
        routes=[
            {"name": "photos", "from": "source", "to": "down", "filter": {"prefix": "down/"}},
            {"name": "retried", "from": "source", "to": "flaky", "filter": {"prefix": "flaky/"}},
            {"name": "late", "from": "source", "to": "slow", "filter": {"prefix": "late/"}},
        ],
        queues=[
            {"name": "events", "url": "sqlite://queue.db"},
            {
                "name": "gone",
                "url": "sqs://gone?region=eu-west-1",
                "endpoint": "http://127.0.0.1:9",
                "identity": identity,
            },
        ],
        retry={"initial_delay": "50ms", "max_delay": "100ms", "request_tries": 1, "max_retries": 1},
        breaker={"failures": 1, "cooldown": "1h"},
    )


async def test_every_rule_fires_and_every_panel_has_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configured = wrong(tmp_path, monkeypatch)
    for folder in ("down", "late", "flaky"):
        (tmp_path / "source" / folder).mkdir()
        (tmp_path / "source" / folder / "a").write_text("a")
    await send(configured, Outgoing(b"no event"), event("down/a", Late().time()), late=True)
    await send(configured, event("a", SystemClock().time(), "misspelt"))
    ledger = SqliteLedger(tmp_path / "ledger.db", "test", Late())
    missing = ObjectRef(Provider.FILE, "source", "missing")
    await ledger.hold_deletes([HeldDelete(missing, "source", ("photos",), "limit", Late().time())])
    await ledger.close()
    other = SqliteLedger(tmp_path / "ledger.db", "other", SystemClock(), lease=10_000.0)  # which no Prometheus scrapes
    assert await other.heartbeat(Heartbeat("host", "1", "", 0.0), ["deletes"]) == ["deletes"]
    (nothing,) = free_ports()
    async with served(configured) as target:
        with scraping(target, f"127.0.0.1:{nothing}") as server:
            keeping_late = asyncio.create_task(keep_late(configured))
            await asyncio.sleep(1.0)  # the service must have begun
            Leaping.leap = 600.0
            try:
                await until_fired(server, rule_names() - FILES - DIFFERENCES - {"SkyferryAbsent", "SkyferryLedgerSlow"})
                assert await asyncio.to_thread(empty_panels, server) == []
            finally:
                await end(keeping_late)
    await other.close()


async def keep_late(configured: Settings) -> None:
    """Write an object twice a second, and send its event an hour late."""
    for number in range(1000):
        for folder in ("late", "flaky"):
            (configured.workspace / "source" / folder / str(number)).write_text("a")
        late = [event(f"{folder}/{number}", Late().time()) for folder in ("late", "flaky")]
        await send(configured, *late, late=True)
        await asyncio.sleep(0.5)


def empty_panels(server: Prometheus) -> Sequence[str]:
    """Return the queries of the dashboard without a series."""
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    assert len(queries) > 20
    ready = {query: query.replace("$job", ".*").replace("$__rate_interval", "1m") for query in queries}
    return [query for query in queries if not server.query(ready[query])]


async def test_files_that_fail_fire_their_rules(tmp_path: Path) -> None:
    configured = settings(tmp_path)
    with suppress(QueueError, LedgerError):
        async with served(configured) as target:
            with scraping(target) as server:
                for file in ("ledger.db", "queue.db"):  # without any table: no statement that succeeds ends the alert
                    with closing(sqlite3.connect(tmp_path / file)) as db:
                        for (table,) in db.execute(TABLES).fetchall():
                            db.execute(f'DROP TABLE "{table}"')
                await until_fired(server, FILES)


async def test_a_slow_ledger_fires_its_rule(tmp_path: Path) -> None:
    """Another process writes to its file nearly all the time."""
    configured = settings(tmp_path)
    (tmp_path / "source" / "a").write_text("a")
    async with served(configured) as target:
        with scraping(target) as server, locked_often(tmp_path / "ledger.db"):
            sending = asyncio.create_task(keep_sending(configured))
            try:
                await until_fired(server, {"SkyferryLedgerSlow"})
            finally:
                await end(sending)


@contextmanager
def locked_often(file: Path) -> Iterator[None]:
    """Lock a file of SQLite for 1.5 s again and again."""
    ended = threading.Event()

    def lock() -> None:
        with closing(sqlite3.connect(file, isolation_level=None, timeout=60)) as db:
            while not ended.is_set():
                db.execute("BEGIN IMMEDIATE")
                ended.wait(1.5)
                db.execute("ROLLBACK")
                ended.wait(0.05)

    thread = threading.Thread(target=lock)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


async def keep_sending(configured: Settings) -> None:
    for number in range(1000):
        (configured.workspace / "source" / str(number)).write_text("a")
        await send(configured, event(str(number), SystemClock().time()))
        await asyncio.sleep(0.2)


async def test_no_rule_fires_where_all_is_well(tmp_path: Path) -> None:
    configured = settings(tmp_path)
    (tmp_path / "source" / "a").write_text("a")
    await send(configured, event("a", SystemClock().time()))
    async with served(configured) as target:
        with scraping(target) as server:
            async with asyncio.timeout(30):
                while not server.query('skyferry_transfers_total{outcome="done"} > 0'):
                    await asyncio.sleep(0.25)
            await asyncio.sleep(1.0)  # several evaluations
            assert await names(server, FIRING) == set()


async def test_workers_that_differ_fire_their_rules(tmp_path: Path) -> None:
    """Two workers take from one queue. The second one has a misspelt ledger, and another filter."""
    route = {"name": "photos", "from": "source", "to": "destination"}
    one = settings(tmp_path, routes=[route])
    other = one.override({"routes": [route | {"filter": {"prefix": "a"}}], "ledger": {"url": "sqlite://leger.db"}})
    async with served(one) as first, served(other) as second:
        with scraping(first, second) as server:
            await until_fired(server, DIFFERENCES)


async def test_one_worker_exports_the_gauges_of_the_fleet(tmp_path: Path) -> None:
    """They are those of another one after its end, and no rule fires for two workers that are alike."""
    configured = settings(tmp_path)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(served(configured))
        async with served(configured) as second:
            with scraping(first, second) as server:
                await until_exported(server, {first})
                await asyncio.sleep(1.0)  # several evaluations
                assert await names(server, FIRING) == set()
                await stack.aclose()
                await until_exported(server, {second})


async def until_exported(server: Prometheus, by: set[str]) -> None:
    """Wait until these processes alone export each of the gauges of the fleet."""
    seen: dict[str, set[str]] = {}
    with suppress(TimeoutError):
        async with asyncio.timeout(60):
            while set(map(frozenset, seen.values())) != {frozenset(by)}:
                await asyncio.sleep(0.25)
                found = [await asyncio.to_thread(server.query, f"count by (instance) ({gauge})") for gauge in GAUGES]
                seen = {g: {each["metric"]["instance"] for each in s} for g, s in zip(GAUGES, found, strict=True)}
    assert seen == dict.fromkeys(GAUGES, by)


async def test_no_process_at_all_fires() -> None:
    (nothing,) = free_ports()
    with scraping(f"127.0.0.1:{nothing}") as server:
        await until_fired(server, {"SkyferryAbsent", "SkyferryDown"})


@pytest.mark.parametrize("command", [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts.test.yaml")])
def test_promtool_is_content(command: tuple[str, ...]) -> None:
    program = shutil.which("promtool")
    if program is None:
        absent(ServerMissing("prometheus"))
    done = subprocess.run([program, *command], cwd=RULES.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_of_the_page_is_a_rule() -> None:
    page = (DOCS / "operations" / "observability.md").read_text("utf-8")
    (group,) = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    expressions = " ".join(rule["expr"] for rule in group["rules"])
    shown = re.findall(r"`(skyferry_[a-z_]+) ((?:>|==) [0-9]+)`", page)
    assert len(shown) >= 9
    for metric, condition in shown:
        assert re.search(rf"{metric}\)? {condition}", expressions), metric


def test_the_dashboard_is_up_to_date() -> None:
    assert DASHBOARD.read_text("utf-8") == render_dashboard(), (
        "python -m tools.dashboard > deploy/grafana/skyferry.json"
    )
