"""The reports of a service at its start."""

from __future__ import annotations

from pathlib import Path

from skyferry.config.settings import Settings
from skyferry.ports import Heartbeat
from skyferry.records import Record
from skyferry.wiring import build_service, open_ledger


class Records(list[Record]):
    """An observer that keeps the records."""

    def on(self, record: Record) -> None:
        """Keep one."""
        self.append(record)


async def open_service(settings: Settings) -> list[tuple[str, int | None]]:
    """Return the reports about the ledger of a service that starts."""
    records = Records()
    async with build_service(settings, records):
        return [(record.message, record.count) for record in records if record.event == "ledger.opened"]


async def test_a_service_names_its_ledger_and_who_uses_it(tmp_path: Path) -> None:
    """So a misspelt URL, which makes a second and empty ledger, is noticed."""
    (tmp_path / "inbox").mkdir()
    document = {
        "workspace": tmp_path,
        "stores": {"inbox": {"url": "file://inbox"}, "archive": {"url": "file://archive"}},
        "routes": [{"name": "all", "from": "inbox", "to": "archive"}],
        "queues": [{"name": "events", "url": "sqlite://queue.db"}],
        "ledger": {"url": "sqlite://ledger.db"},
    }
    settings = Settings.model_validate(document)
    other = await open_ledger(settings)
    await other.heartbeat(Heartbeat("host", "1", "", 0.0), [])
    path = tmp_path / "ledger.db"
    assert await open_service(settings) == [(f"{path}: 1 other worker, 0 transfers", 1)]
    await other.close()
    misspelt = settings.override({"ledger": {"url": "sqlite://leger.db"}})
    assert await open_service(misspelt) == [(f"{tmp_path / 'leger.db'}: 0 other workers, 0 transfers", 0)]
    in_memory = settings.override({"ledger": {"url": "memory://ledger"}})
    assert await open_service(in_memory) == []
