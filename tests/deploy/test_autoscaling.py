"""The measurements of KEDA: the queries and settings of the rendered triggers, against real servers and a real service."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from tests.absent import absent
from tests.deploy.test_chart import CHART, _installed, render
from tests.deploy.test_monitoring import scraping, served
from tests.e2e.behind import event, settings
from tests.queues.nats.test_conformance import NatsHarness
from tests.queues.redis.test_conformance import RedisHarness
from tools import kubernetes

from skyferry.clock import SystemClock
from skyferry.clouds.credentials import fixed_credentials
from skyferry.errors import QueueError
from skyferry.ports import EventQueue, Outgoing
from skyferry.postgres.address import parse_postgres
from skyferry.postgres.pool import PoolOptions, PostgresPool
from skyferry.queues.postgres.queue import PostgresQueue
from skyferry.queues.postgres.scheme import FORM
from skyferry.queues.sqlite.queue import SqliteQueue
from skyferry.testing.servers import PostgresServer, RedisServer, ServerMissing, nats
from skyferry.testing.servers.process import free_ports
from skyferry.testing.servers.prometheus import Prometheus

POD = {"namespace": "ferry", "pod": "prod-skyferry-5f6d7c8b9-x2x7k"}
MESSAGES, SIZE = 40, 1000


@pytest.fixture(scope="module")
def triggers() -> list[dict[str, Any]]:
    manifests = render(_installed(kubernetes.helm), CHART / "ci" / "queues.yaml")
    found: list[dict[str, Any]] = manifests["ScaledObject"]["spec"]["triggers"]
    return found


async def lease_two_of_five(queue: EventQueue) -> None:
    await queue.send([Outgoing(b"x")] * 5)
    assert await queue.receive(2, 10)


async def test_the_query_for_postgresql_counts_leased_messages(
    postgres_server: PostgresServer, triggers: list[dict[str, Any]]
) -> None:
    [query] = [trigger["metadata"]["query"] for trigger in triggers if trigger["type"] == "postgresql"]
    database = postgres_server.create_database()
    url = f"postgresql://{postgres_server.user}@{postgres_server.address}/{database}/exports"
    options = PoolOptions(parse_postgres(url, FORM, names=1, allow_plain=False))
    pool = PostgresPool("exports", options, fixed_credentials(postgres_server.password), QueueError)
    queue = PostgresQueue("exports", pool, "test", SystemClock())
    try:
        await lease_two_of_five(queue)
        assert postgres_server.run(query, database) == "5"
    finally:
        await queue.close()


async def test_the_length_of_a_stream_counts_leased_messages(
    redis_server: RedisServer, triggers: list[dict[str, Any]]
) -> None:
    """KEDA asks for XLEN if it has the length but no group."""
    [metadata] = [trigger["metadata"] for trigger in triggers if trigger["type"] == "redis-streams"]
    assert "streamLength" in metadata
    assert "consumerGroup" not in metadata
    harness = RedisHarness(redis_server)
    queue = await harness.open()
    try:
        await queue.send([Outgoing(b"x")] * 5)
        leased = await queue.receive(2, 10)
        length = partial(queue._client.run, lambda client: client.xlen(queue._stream))
        assert await length() == 5
        await queue.ack(leased)
        assert await length() == 3
    finally:
        await queue.close()


async def test_the_monitoring_of_nats_counts_leased_messages(triggers: list[dict[str, Any]]) -> None:
    """KEDA adds two numbers of the consumer, of the account and the stream in the trigger."""
    [metadata] = [trigger["metadata"] for trigger in triggers if trigger["type"] == "nats-jetstream"]
    (port,) = free_ports()
    try:
        with nats(f'http: "127.0.0.1:{port}"') as server:
            harness = NatsHarness(server)
            queue = await harness.open()
            stream, consumer = harness.url.partition("?")[0].split("/")[-2:]
            await lease_two_of_five(queue)
            url = f"http://127.0.0.1:{port}/jsz?acc={metadata['account']}&consumers=true&config=true"
            report = json.loads(await asyncio.to_thread(lambda: urlopen(url, timeout=5).read()))
            [account] = [each for each in report["account_details"] if each["name"] == metadata["account"]]
            [found] = [each for each in account["stream_detail"] if each["name"] == stream]
            [counts] = [each for each in found["consumer_detail"] if each["name"] == consumer]
            assert counts["num_pending"] + counts["num_ack_pending"] == 5
            assert counts["num_ack_pending"] > 0
            await queue.close()
    except ServerMissing as missing:
        absent(missing)


async def test_metrics_measure_messages_and_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, triggers: list[dict[str, Any]]
) -> None:
    """A destination that does not answer for a minute: ten messages are in flight, the others wait in the queue."""
    messages, sizes = (trigger["metadata"]["query"] for trigger in triggers if trigger["type"] == "prometheus")
    configured = settings(
        tmp_path,
        stores={
            "source": {"url": "file://source", "watch": False},
            "destination": {"url": "sim://destination?latency=60"},
        },
        limits={"max_in_flight_messages": 10},
        drain="100ms",
    )
    for number in range(MESSAGES):
        (tmp_path / "source" / str(number)).write_bytes(bytes(SIZE))
    queue = SqliteQueue(tmp_path / "queue.db", "events", "test", SystemClock())
    await queue.send([event(str(number), SystemClock().time(), size=SIZE) for number in range(MESSAGES)])
    await queue.close()
    async with served(configured) as target:
        with scraping(target, labels={target: POD}) as server:
            await until(server, messages, MESSAGES)
            await until(server, sizes, MESSAGES * SIZE)
            received = server.query('skyferry_backlog_bytes{state="received"}')
            assert 0 < float(received[0]["value"][1]) < MESSAGES * SIZE


async def test_metrics_are_zero_where_nothing_waits(tmp_path: Path, triggers: list[dict[str, Any]]) -> None:
    async with served(settings(tmp_path)) as target:
        with scraping(target, labels={target: POD}) as server:
            for trigger in triggers:
                if trigger["type"] == "prometheus":
                    await until(server, trigger["metadata"]["query"], 0)


async def until(server: Prometheus, query: str, expected: float) -> None:
    """Wait for the value of a query."""
    found: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(30):
            while not found or float(found[0]["value"][1]) != expected:
                await asyncio.sleep(0.25)
                found = await asyncio.to_thread(server.query, query)
    except TimeoutError:
        pytest.fail(f"{found} is not {expected}: {query}")
