"""The message of a claimed transfer is purged from its queue. The service brings the transfer to an end, and the lag to zero."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest

from skyferry.clock import SystemClock
from skyferry.config.settings import Settings
from skyferry.engine.dead_letters import lost_messages
from skyferry.events.native import encode_event
from skyferry.ledgers.sqlite.ledger import SqliteLedger
from skyferry.model import Change, ObjectEvent, ObjectRef, Provider, State
from skyferry.ports import Outgoing
from skyferry.records import Record
from skyferry.routing.routes import Routes
from skyferry.wiring import service as wiring
from skyferry.wiring.opener import Opener
from skyferry.wiring.service import build_service


class Ear:
    """An observer that keeps the names of records."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def on(self, record: Record) -> None:
        self.heard.append(record.event)


@pytest.mark.parametrize("exists", [True, False], ids=["at the source", "gone from the source"])
async def test_a_purged_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, exists: bool) -> None:
    """Nothing else finds the object: its folder is not watched, and the queue is empty."""
    monkeypatch.setattr(wiring, "find_patience", lambda leases: 0.2)
    monkeypatch.setattr(lost_messages, "PAUSE", 0.05)
    stores = {name: {"url": f"file://{name}", "watch": False} for name in ("source", "there")}
    settings = Settings.model_validate(
        {
            "workspace": tmp_path,
            "stores": stores,
            "routes": [{"name": "r", "from": "source", "to": "there"}],
            "queues": [{"name": "main", "url": "sqlite://main.db"}],
            "ledger": {"url": "sqlite://ledger.db", "lease": "1s"},
        }
    )
    for name in stores:
        (tmp_path / name).mkdir()
    if exists:
        (tmp_path / "source" / "k").write_bytes(b"x")
    clock, ear, names = SystemClock(), Ear(), (str(uuid.uuid4()), str(uuid.uuid4()))
    event = ObjectEvent(names[0], Change.CREATED, ObjectRef(Provider.FILE, "source", "k"), clock.time(), names[1])
    (transfer,) = Routes(settings).match(event)
    queue = Opener(settings, clock).queue("main")
    await queue.send([Outgoing(encode_event(event))])
    (message,) = await queue.receive(1, 0)
    ledger = SqliteLedger(tmp_path / "ledger.db", "dead", clock, 1.0)
    await ledger.claim([transfer])
    await ledger.close()
    await queue.ack([message])
    await queue.close()
    async with build_service(settings, ear) as service:
        assert await service.ledger.find_oldest_unsettled() == {"r": pytest.approx(event.occurred_at)}
        running = asyncio.create_task(service.run())
        end = (State.DONE, "") if exists else (State.SKIPPED, "gone")
        async with asyncio.timeout(60):  # it is a dead letter for a moment, which is no lag either
            while (row := await service.ledger.get_transfer(transfer.id)) is None or (row.state, row.reason) != end:
                await asyncio.sleep(0.05)
            assert not await service.ledger.find_oldest_unsettled()
            while await service.ledger.count_dead_letters():  # it is removed once its message is acknowledged
                await asyncio.sleep(0.05)
        service.drain()
        await running
    assert ear.heard.count("transfer.message_lost") == 1
    assert ear.heard.count("transfer.dead") == 0
    assert (tmp_path / "there" / "k").exists() == exists
