"""A primary dies in the middle of a run, and its standby is promoted: work waits, goes on, and nothing confirmed is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.absent import absent
from tests.ledgers.postgres.test_outage import work

from skyferry.clouds.credentials import fixed_credentials
from skyferry.config.settings import LedgerSettings, Settings
from skyferry.errors import LedgerError
from skyferry.ledgers.postgres.ledger import open_ledger
from skyferry.ledgers.postgres.maintenance import PostgresLedgerMaintenance
from skyferry.model import State
from skyferry.postgres.address import parse_postgres
from skyferry.postgres.pool import PoolOptions, PostgresPool
from skyferry.records import Record
from skyferry.testing.ledger.harness import claim, done, settle, transfer
from skyferry.testing.servers import PostgresServer, ServerMissing, postgres
from skyferry.testing.servers.engines.postgres import standby
from skyferry.wiring import build_service

FILES = 300


class Counter:
    """An observer that counts finished transfers, and keeps the order of failures of the ledger."""

    def __init__(self) -> None:
        self.done, self.health = 0, list[str]()

    def on(self, record: Record) -> None:
        self.done += record.event == "transfer.done"
        if record.event in ("health.failing", "health.restored") and not record.queue:
            self.health.append(record.event)


def settings(url: str, folder: Path) -> Settings:
    for name in ("a", "b"):
        (folder / name).mkdir()
    for number in range(FILES):
        (folder / "a" / f"{number}").write_text(f"{number}")
    document = {
        "workspace": folder,
        "stores": {name: {"url": f"file://{folder / name}"} for name in ("a", "b")},
        "routes": [{"name": "r", "from": "a", "to": "b"}],
        "queues": [{"name": "q", "url": "sqlite://q.db"}],
        "limits": {"transfers": 4},
    }
    return Settings.model_validate(document).model_copy(update={"ledger": LedgerSettings(url=url)})


def pool(url: str, password: str) -> PostgresPool[LedgerError]:
    address = parse_postgres(url, "", names=0, allow_plain=False)
    return PostgresPool("ledger", PoolOptions(address, connect_timeout=5), fixed_credentials(password), LedgerError)


@pytest.fixture
def cluster() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """A primary and its standby. Only processes die here, so nothing has to be flushed to the disk."""
    with ExitStack() as servers:
        try:
            primary = servers.enter_context(postgres("fsync=off"))
            follower = servers.enter_context(standby(primary, "fsync=off"))
        except ServerMissing as missing:
            absent(missing)
        yield primary, follower


async def promote(primary: PostgresServer, follower: PostgresServer, refused: PostgresPool[LedgerError]) -> None:
    """Kill the primary, see that the standby alone is an outage, and promote it."""
    await asyncio.to_thread(primary.daemon.kill)
    with pytest.raises(LedgerError, match=r"cannot be reached|none of the servers accepts writes"):
        await refused.run(lambda connection: connection.execute("SELECT 1"))
    await asyncio.to_thread(follower.run, "SELECT pg_promote()")


async def test_a_failover_loses_nothing_that_was_confirmed(
    cluster: tuple[PostgresServer, PostgresServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The standby confirms each commit. A service and a ledger use both servers by one URL."""
    primary, follower = cluster
    monkeypatch.setenv("PGPASSWORD", primary.password)
    url = f"postgresql://{primary.user}@{primary.address},{follower.address}/postgres"
    both = pool(url, primary.password)
    ledger = await open_ledger(pool(f"{url}?schema=own", primary.password), "one", 30.0)
    confirmed, stop, heard = set[str](), asyncio.Event(), Counter()
    (held,) = await claim(ledger, transfer("held"))
    task = asyncio.create_task(work(ledger, "one", confirmed, stop))
    while len(confirmed) < 20:
        await asyncio.sleep(0.01)
    async with asyncio.timeout(300), build_service(settings(url, tmp_path), heard) as service:
        running = asyncio.create_task(service.run(until_idle=True))
        while heard.done < 20:
            await asyncio.sleep(0.01)
        await promote(primary, follower, both)
        before = set(confirmed)
        while len(confirmed) < len(before) + 20:
            await asyncio.sleep(0.02)
        stop.set()
        await asyncio.gather(task, running)
        counts = await service.ledger.count_transfers()
        assert (counts[State.DONE], counts[State.DEAD]) == (FILES, 0)
    assert 0 < heard.done <= FILES  # a settlement whose answer was lost is found done afterwards
    assert heard.health[:1] == ["health.failing"]
    assert heard.health[-1] == "health.restored"
    assert {(tmp_path / "b" / f"{number}").read_text() == f"{number}" for number in range(FILES)} == {True}
    rows = [await ledger.get_transfer(id_) for id_ in confirmed]
    assert {row.state if row else None for row in rows} <= {State.DONE, State.DEAD}
    assert await settle(ledger, held, done(held))  # a lease survives the failover
    maintenance = PostgresLedgerMaintenance(lambda: pool(url, primary.password), lambda: open_ledger(both, "x", 1.0))
    assert await maintenance.find_damage() == []
    await ledger.close()
    await both.close()
