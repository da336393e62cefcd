"""What a provider pushed and was told 200 for is in the queue's file, whatever becomes of the process."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from skyferry.config.push import PushSettings
from skyferry.config.settings import QueueSettings, Settings
from skyferry.errors import QueueError
from skyferry.events.native import encode_event
from skyferry.model import Change, ObjectEvent, ObjectRef, Provider
from skyferry.ports import Outgoing
from skyferry.records import Record
from skyferry.server import PushEndpoints, create_app
from skyferry.testing.identity.topic import ARN, run_topic
from skyferry.wiring import build_service, open_queue

SECRET = "a-long-and-random-secret"
BODY = b'{"Records": []}'


class Deaf:
    """An observer that hears nothing."""

    def on(self, record: Record) -> None:
        """See `Observer`."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    queues = (QueueSettings(name="main", url="sqlite://main.db"), QueueSettings(name="ceph", url="sqlite://ceph.db"))
    push = (
        PushSettings(name="minio", kind="s3", secret_env="S"),
        PushSettings(name="ceph", kind="s3", secret_env="S", queue="ceph"),
        PushSettings(name="lost", kind="s3", secret_env="S", queue="gone"),
    )
    return Settings(workspace=tmp_path, queues=queues, push=push)


async def test_it_is_in_the_file_of_its_queue_before_the_answer(settings: Settings) -> None:
    async with build_service(settings, Deaf()) as service:
        endpoints = PushEndpoints.from_settings(settings.push, {"S": SECRET}, time.time)
        app = create_app(service, settings.server, CollectorRegistry(), endpoints)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            for path, status in (("minio", 200), ("ceph", 200), ("lost", 503)):
                response = await client.post(f"/v1/push/{path}/{SECRET}", content=BODY)
                assert response.status_code == status
        for name in ("main", "ceph"):  # as another process sees it, while this one still runs
            other = open_queue(settings, name)
            assert [message.body for message in await other.receive(10, 0)] == [BODY]
            await other.close()


async def test_a_queue_that_is_not_there_takes_nothing(settings: Settings) -> None:
    async with build_service(settings, Deaf()) as service:
        with pytest.raises(QueueError, match="queue 'gone' is not configured"):
            await service.accept("gone", [Outgoing(BODY)])


async def test_a_message_of_sns_that_comes_again_is_let_in_again_and_copied_once(tmp_path: Path) -> None:
    """While the first lies in the queue there is one; later ones are there, and duplicates to the ledger."""
    heard: list[str] = []

    class Ear:
        def on(self, record: Record) -> None:
            heard.append(record.event)

    stores = {name: {"url": f"file://{name}", "watch": False} for name in ("source", "there")}
    routes = [{"name": "r", "from": "source", "to": "there"}]
    queues = [{"name": "main", "url": "sqlite://main.db"}]
    settings = Settings.model_validate({"workspace": tmp_path, "stores": stores, "routes": routes, "queues": queues})
    for name in stores:
        (tmp_path / name).mkdir()
    (tmp_path / "source" / "a.txt").write_text("x")
    event = ObjectEvent(str(uuid.uuid4()), Change.CREATED, ObjectRef(Provider.FILE, "source", "a.txt"), time.time())
    async with run_topic(time.time) as topic:
        message = topic.message(text=encode_event(replace(event, correlation_id=event.event_id)).decode())
        push = PushSettings(name="s3", kind="sns", topics=(ARN,), endpoint=topic.url)
        for expected in (["transfer.done"], ["transfer.done", "transfer.duplicate"]):
            async with build_service(settings, Ear()) as service:
                app = create_app(
                    service, settings.server, CollectorRegistry(), PushEndpoints.from_settings([push], {}, time.time)
                )
                async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
                    for _ in range(2):
                        assert (await client.post("/v1/push/s3", json=message)).status_code == 200
                await service.run(until_idle=True)
            assert [name for name in heard if name in ("transfer.done", "transfer.duplicate")] == expected
