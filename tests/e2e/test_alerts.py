"""Every alert of the documents fires at a service that is really behind, and none at one that is well."""

from __future__ import annotations

import asyncio
import operator
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from tests.e2e.behind import TABLES, Late, Leaping, event, settings

from skyferry.clock import SystemClock
from skyferry.config.settings import Settings
from skyferry.errors import LedgerError, QueueError
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.model import ObjectRef, Provider
from skyferry.observe import MetricsObserver
from skyferry.ports import Outgoing
from skyferry.ports.ledger.held_deletes import HeldDelete
from skyferry.queues.sqlite.queue import SqliteQueue
from skyferry.wiring import build_service
from skyferry.wiring import service as wiring

DOCS = Path(__file__).parents[2] / "docs"
ALERT = re.compile(r"`(skyferry_[a-z_]+) (>|==) ([0-9]+)`")
COMPARE: dict[str, Callable[[float, float], bool]] = {">": operator.gt, "==": operator.eq}
Alert = tuple[str, str, str]
FILES = {
    ("skyferry_ledger_failing", "==", "1"),
    ("skyferry_queue_failing", "==", "1"),
    ("skyferry_shared_limits_fallback", "==", "1"),
}


def alerts() -> list[Alert]:
    found = [
        each
        for page in ("operations/observability.md", "how-to/s3-to-cloud-storage.md")
        for each in ALERT.findall((DOCS / page).read_text("utf-8"))
    ]
    return sorted(set(found))


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(wiring, "SystemClock", Leaping)
    yield
    Leaping.leap = 0.0


async def fired(configured: Settings, wanted: set[Alert], met: Callable[[set[Alert]], bool]) -> set[Alert]:
    """The alerts that fire once `met` is content with them."""
    registry = CollectorRegistry()
    metrics = MetricsObserver(registry)
    async with build_service(configured, metrics, metrics.update) as service, asyncio.timeout(60):
        running = asyncio.create_task(service.run())
        seen: set[Alert] | None = None
        while seen is None or not met(seen):
            await asyncio.sleep(0.1)
            samples = {f.name: f.samples for f in registry.collect()}
            seen = {a for a in wanted if any(COMPARE[a[1]](s.value, float(a[2])) for s in samples[a[0]])}
        service.drain()
        await running
    return seen


async def test_every_alert_fires_where_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A destination that is down, a lost queue, events of an hour ago, a message that is none, and a delete that is held."""
    monkeypatch.setenv("KEY", "k")
    monkeypatch.setenv("SECRET", "s")
    identity = {"kind": "static", "key_env": "KEY", "secret_env": "SECRET"}
    configured = settings(
        tmp_path,
        stores={
            "source": {"url": "file://source", "watch": False},
            "destination": {"url": "sim://destination", "simulator": {"outages": ["0s-1h"]}},
        },
        queues=[
            {"name": "events", "url": "sqlite://queue.db"},
            {
                "name": "gone",
                "url": "sqs://gone?region=eu-west-1",
                "endpoint": "http://127.0.0.1:9",
                "identity": identity,
            },
        ],
    )
    (tmp_path / "source" / "a").write_text("a")
    queue = SqliteQueue(tmp_path / "queue.db", "events", "test", Late())
    await queue.send([Outgoing(b"no event"), event("a", Late().time())])
    await queue.close()
    ledger = SqliteLedger(tmp_path / "ledger.db", "test", Late())
    missing = ObjectRef(Provider.FILE, "source", "missing")
    await ledger.hold_deletes([HeldDelete(missing, "source", ("photos",), "limit", Late().time())])
    await ledger.close()
    Leaping.leap = 0.0

    async def pass_time() -> None:
        await asyncio.sleep(1.0)  # the service must have begun
        Leaping.leap = 600.0

    passing = asyncio.create_task(pass_time())
    wanted, seen = set(alerts()) - FILES, set[Alert]()

    def met(firing: set[Alert]) -> bool:
        if passing.done():  # each may have its moment
            seen.update(firing)
        return seen == wanted

    await fired(configured, wanted, met)


async def test_files_that_fail_fire_their_alerts(tmp_path: Path) -> None:
    configured = settings(tmp_path)
    seen = set[Alert]()

    def met(firing: set[Alert]) -> bool:
        for file in ("ledger.db", "queue.db"):  # without any table: no statement that succeeds ends the alert
            with closing(sqlite3.connect(tmp_path / file)) as db:
                for (table,) in db.execute(TABLES).fetchall():
                    db.execute(f'DROP TABLE "{table}"')
        seen.update(firing)  # each may have its moment
        return seen == FILES

    with suppress(QueueError, LedgerError):  # of their closing
        await fired(configured, FILES, met)
    assert seen == FILES
    assert set(alerts()) > FILES


async def test_no_alert_fires_where_all_is_well(tmp_path: Path) -> None:
    configured = settings(tmp_path)
    (tmp_path / "source" / "a").write_text("a")
    queue = SqliteQueue(tmp_path / "queue.db", "events", "test", SystemClock())
    await queue.send([event("a", SystemClock().time())])
    await queue.close()
    copy = tmp_path / "destination" / "a"
    assert await fired(configured, set(alerts()), lambda firing: copy.exists() and not firing) == set()


def test_the_documents_have_alerts() -> None:
    """Or nothing would be tried."""
    assert len(alerts()) >= 6
