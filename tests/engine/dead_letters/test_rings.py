"""Two deployments send their dead letters to each other's queues: what neither can read goes round once, and stays."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import httpx
import orjson
import pytest
from prometheus_client import CollectorRegistry

from skyferry.config.push import PushSettings
from skyferry.config.settings import DeadLetterSettings, QueueSettings, Settings
from skyferry.engine.dead_letters.redrive import RedriveQueue
from skyferry.ports import DeadLetter, Filter, Outgoing, letter_attributes
from skyferry.records import Record
from skyferry.server import PushEndpoints, create_app
from skyferry.server.push.dead_letters import find_reference
from skyferry.testing.clock import ManualClock
from skyferry.wiring import build_service, open_queue

SECRET = "a-long-and-random-secret"
BODY = b"what no parser reads"


class Ear:
    """Remembers what was reported."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def on(self, record: Record) -> None:
        """See `Observer`."""
        self.records.append(record)

    def named(self, event: str) -> list[Record]:
        return [record for record in self.records if record.event == event]


class Deployment:
    """Works on its own queue with its own ledger, and sends its letters to the queue of the other."""

    def __init__(self, root: Path, name: str, other: str) -> None:
        self.name, self.ear = name, Ear()
        (root / name).mkdir()
        self.settings = Settings(
            workspace=root / name,
            queues=(QueueSettings(name=name, url=f"sqlite://../{name}.db"),),
            dead_letters=DeadLetterSettings(name="dead", url=f"sqlite://../{other}.db"),
            push=(PushSettings(name="push", kind="s3", secret_env="S"),),
        )

    async def work(self, *bodies: bytes) -> list[DeadLetter]:
        """Until nothing is left to do; return all letters of the ledger. `bodies` are pushed first."""
        async with build_service(self.settings, self.ear) as service:
            app = create_app(
                service,
                self.settings.server,
                CollectorRegistry(),
                PushEndpoints.from_settings(self.settings.push, {"S": SECRET}, time.time),
            )
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
                for body in bodies:
                    assert (await client.post(f"/v1/push/push/{SECRET}", content=body)).status_code == 200
            service._patience = 0.05
            await service.run(until_idle=True)
            return list((await service.ledger.list_dead_letters(Filter())).items)

    async def waiting(self) -> int:
        queue = open_queue(self.settings, self.name)
        try:
            return (await queue.depth()).ready
        finally:
            await queue.close()


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Deployment, Deployment]:
    return Deployment(tmp_path, "a", "b"), Deployment(tmp_path, "b", "a")


async def test_a_letter_of_another_ledger_that_dies_again_is_kept_and_not_sent_on(
    pair: tuple[Deployment, Deployment],
) -> None:
    """It was passed on for ever, a new letter in each ledger each time."""
    first, second = pair
    queue = open_queue(first.settings, "a")
    await queue.send([Outgoing(BODY, (("theirs", "x"),))])
    await queue.close()
    (died,) = await first.work()
    assert died.attributes == (("theirs", "x"),)
    assert await second.waiting() == 1
    (kept,) = await second.work()
    assert await first.waiting() == 0
    assert (kept.body, letter_attributes.strip_own(kept.attributes)) == (BODY, died.attributes)
    assert dict(kept.attributes)[letter_attributes.FOREIGN] == died.id
    (record,) = second.ear.named("dead_letter.foreign")
    assert (record.queue, record.transfer_id) == ("b", kept.id)
    assert not second.ear.named("dead_letter.published")
    assert len(await first.work()) == 1


async def test_a_letter_that_was_pushed_is_not_sent_on_either(pair: tuple[Deployment, Deployment]) -> None:
    """Pub/Sub has the attributes in the body; a push without them begins anew."""
    first, _ = pair
    attributes = {letter_attributes.LETTER: "f" * 32, letter_attributes.DIED: "1700000000.5"}
    message = {"data": base64.b64encode(BODY).decode(), "messageId": "1", "attributes": attributes}
    pushed = orjson.dumps({"subscription": "s", "message": message})
    fresh = orjson.dumps({"subscription": "s", "message": {**message, "messageId": "2", "attributes": {}}})
    kept = await first.work(pushed, fresh)
    assert {letter.body: letter_attributes.is_foreign(letter.attributes) for letter in kept} == {
        pushed: True,
        fresh: False,
    }
    assert [record.count for record in first.ear.named("dead_letter.published")] == [1]


@pytest.mark.parametrize(
    "body",
    [
        b"skyferry-dead-letter",
        b'["skyferry-dead-letter"]',
        b'{"message": "skyferry-dead-letter"}',
        b'{"message": {"attributes": {"skyferry-dead-letter": 1}}}',
        b'{"message": {"attributes": {"skyferry-dead-letter": ""}}}',
    ],
)
def test_a_body_that_only_resembles_a_letter_carries_none(body: bytes) -> None:
    assert find_reference(body) == ()


async def test_a_redriven_letter_keeps_its_mark(pair: tuple[Deployment, Deployment]) -> None:
    """If it dies again here, it is still another ledger's."""
    first, _ = pair
    queue = open_queue(first.settings, "a")
    await queue.send([Outgoing(BODY, ((letter_attributes.LETTER, "f" * 32),))])
    await queue.close()
    await first.work()
    async with build_service(first.settings, first.ear) as service:
        await service.ledger.redrive(Filter())
        (message,) = await RedriveQueue(service.ledger, ManualClock()).receive(1, 0)
        assert letter_attributes.is_foreign(message.attributes)
