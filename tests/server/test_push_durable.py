"""What a provider pushed and was told 200 for is in the queue's file, whatever becomes of the process."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from skyferry.config.push import PushSettings
from skyferry.config.settings import QueueSettings, Settings
from skyferry.errors import QueueError
from skyferry.ports import Outgoing
from skyferry.records import Record
from skyferry.server import Doors, create_app
from skyferry.wiring import build, open_queue

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
    async with build(settings, Deaf()) as service:
        doors = Doors.of(settings.push, {"S": SECRET}, time.time)
        app = create_app(service, settings.server, CollectorRegistry(), doors)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            for path, status in (("minio", 200), ("ceph", 200), ("lost", 503)):
                response = await client.post(f"/v1/push/{path}/{SECRET}", content=BODY)
                assert response.status_code == status
        for name in ("main", "ceph"):  # as another process sees it, while this one still runs
            other = open_queue(settings, name)
            assert [message.body for message in await other.receive(10, 0)] == [BODY]
            await other.close()


async def test_a_queue_that_is_not_there_takes_nothing(settings: Settings) -> None:
    async with build(settings, Deaf()) as service:
        with pytest.raises(QueueError, match="no queue 'gone'"):
            await service.accept("gone", [Outgoing(BODY)])
