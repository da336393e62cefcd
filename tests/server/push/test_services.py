"""Real services push to our server: Ceph by its secret, LocalStack's SNS with signatures that it makes itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import boto3  # type: ignore[import-untyped]  # no stubs are published with it
import pytest
from prometheus_client import CollectorRegistry
from tests.server.served import Service

from skyferry.config.push import PushSettings
from skyferry.config.settings import ServerSettings
from skyferry.events.detect import parse_message
from skyferry.model import Change, Provider
from skyferry.server import PushEndpoints, create_app, serve
from skyferry.testing.servers import LocalStack, RadosGateway
from skyferry.testing.servers.s3 import S3Place

SECRET = "a-long-and-random-secret"


def client(kind: str, url: str, key: str = "any", secret: str = "any") -> Any:
    """Of Amazon's own SDK."""
    keys = {"aws_access_key_id": key, "aws_secret_access_key": secret, "region_name": "us-east-1"}
    return boto3.client(kind, endpoint_url=url, **keys)


@asynccontextmanager
async def server(service: Service, **settings: Any) -> AsyncIterator[str]:
    """Our server with one door."""
    endpoints = PushEndpoints.from_settings([PushSettings(name="door", **settings)], {"SECRET": SECRET}, time.time)
    app = create_app(service, ServerSettings(), CollectorRegistry(), endpoints)
    async with serve(app, "127.0.0.1", 0) as url:
        yield f"{url}/v1/push/door"


async def arrived(service: Service, count: int) -> list[bytes]:
    """The bodies of so many messages."""
    async with asyncio.timeout(20):
        while len(service.accepted) < count:
            await asyncio.sleep(0.02)
    return [message.body for _, message in service.accepted]


def confirmed(sns: Any, subscription: str) -> None:
    """Wait for it."""
    for _ in range(400):
        found = sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
        if found.get("PendingConfirmation") == "false":
            return
        time.sleep(0.05)
    raise AssertionError("the subscription was not confirmed")


@pytest.mark.parametrize("form", ["{url}/{secret}", "{url}?secret={secret}"])
async def test_ceph_pushes_what_lands_in_a_bucket(form: str, radosgw_server: RadosGateway, radosgw_s3: S3Place) -> None:
    keys = (radosgw_server.access_key, radosgw_server.secret_key)
    bucket, service = await radosgw_s3.bucket(), Service()
    async with server(service, kind="s3", secret_env="SECRET") as url:

        def land() -> None:
            attributes = {"push-endpoint": form.format(url=url, secret=SECRET)}
            topic = client("sns", radosgw_server.url, *keys).create_topic(Name=bucket, Attributes=attributes)
            s3 = client("s3", radosgw_server.url, *keys)
            rule = {"Id": "ferry", "TopicArn": topic["TopicArn"], "Events": ["s3:ObjectCreated:*"]}
            s3.put_bucket_notification_configuration(
                Bucket=bucket, NotificationConfiguration={"TopicConfigurations": [rule]}
            )
            s3.put_object(Bucket=bucket, Key="in/a b+c.txt", Body=b"data")

        await asyncio.to_thread(land)
        (body,) = await arrived(service, 1)
    (event,) = parse_message(body, {}).events
    assert (event.source.bucket, event.source.key) == (bucket, "in/a b+c.txt")
    assert event.change is Change.CREATED


async def test_ceph_is_refused_with_another_secret(radosgw_server: RadosGateway, radosgw_s3: S3Place) -> None:
    keys = (radosgw_server.access_key, radosgw_server.secret_key)
    bucket, service = await radosgw_s3.bucket(), Service()
    async with server(service, kind="s3", secret_env="SECRET") as url:

        def land() -> None:
            attributes = {"push-endpoint": f"{url}/another-secret"}
            topic = client("sns", radosgw_server.url, *keys).create_topic(Name=bucket, Attributes=attributes)
            s3 = client("s3", radosgw_server.url, *keys)
            rule = {"Id": "ferry", "TopicArn": topic["TopicArn"], "Events": ["s3:ObjectCreated:*"]}
            s3.put_bucket_notification_configuration(
                Bucket=bucket, NotificationConfiguration={"TopicConfigurations": [rule]}
            )
            s3.put_object(Bucket=bucket, Key="k", Body=b"data")  # radosgw waits for the answer to its push

        await asyncio.to_thread(land)
    assert service.accepted == []


async def test_sns_subscribes_signs_and_pushes(localstack_server: LocalStack, localstack_s3: S3Place) -> None:
    bucket, service = await localstack_s3.bucket(), Service()
    sns, s3 = client("sns", localstack_server.url), client("s3", localstack_server.url)
    localhost = localstack_server.url.replace("127.0.0.1", "localhost")  # as it calls itself
    topic = (await asyncio.to_thread(sns.create_topic, Name=bucket))["TopicArn"]
    async with server(service, kind="sns", topics=(topic,), endpoint=localhost) as url:

        def land() -> None:
            made = sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=url, ReturnSubscriptionArn=True)
            confirmed(sns, made["SubscriptionArn"])  # what is published before goes nowhere
            rule = {"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}
            s3.put_bucket_notification_configuration(
                Bucket=bucket, NotificationConfiguration={"TopicConfigurations": [rule]}
            )
            s3.put_object(Bucket=bucket, Key="in/a.txt", Body=b"data")

        await asyncio.to_thread(land)
        bodies = await arrived(service, 2)  # a test message, and the event
    events = [event for body in bodies for event in parse_message(body, {}).events]
    assert [(e.source.provider, e.source.key) for e in events] == [(Provider.AWS_S3, "in/a.txt")]
