"""A message that asks for nothing is acked, and never without a word."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.engine.consume.test_queue_down import idle

from skyferry.ports import Outgoing
from skyferry.queues.memory import MemoryQueue
from skyferry.records import Record
from skyferry.testing.clock import ManualClock

CORPUS = Path(__file__).parents[2] / "events" / "corpus" / "valid"


@pytest.mark.parametrize(
    ("sample", "event", "reason"),
    [
        ("s3-test.json", "message.test", ""),
        ("s3-acl.json", "event.ignored", "ObjectAcl:Put"),
        ("azure-tier.json", "event.ignored", "BlobTierChanged"),
    ],
)
async def test_it_is_reported_and_acknowledged(sample: str, event: str, reason: str) -> None:
    """The provider's test message, and what does not concern content."""
    clock, heard = ManualClock(), list[Record]()
    queue = MemoryQueue("events", clock)
    worker = idle(clock, queue, heard=heard)
    await queue.send([Outgoing((CORPUS / sample).read_bytes())])
    running = asyncio.create_task(worker.run())
    await clock.advance(1)
    reported = [(record.event, record.queue, record.reason) for record in heard if record.event != "queue.received"]
    assert reported == [(event, "events", reason), ("message.acked", "events", "")]
    assert (await queue.depth()).ready == 0
    worker.drain()
    await clock.advance(1)
    await running
