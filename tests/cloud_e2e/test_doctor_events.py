"""The canaries of `skyferry doctor --events`, and the messages of others that they meet."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # no stubs are published with it
import pytest
from azure.storage.queue import QueueServiceClient
from tests.cloud_e2e.buckets import AzureContainer, Clouds, GcsBucket, S3Bucket
from tests.cloud_e2e.conftest import Skyferry
from tests.cloud_e2e.doctored import EVERYTHING, NOTE, Sqs, said, states
from tests.cloud_e2e.test_events import configured, publish, subscribed
from tests.processes.running import wait_until

from skyferry.testing.servers.pubsub import PubSubEmulator


def test_a_canary_s_event_comes_back_and_other_messages_stay(
    clouds: Clouds, skyferry: Skyferry, source: S3Bucket
) -> None:
    """From S3 through its own notification to SQS. Before it wait other events and what is none; all are there afterwards."""
    queue = Sqs(clouds, f"queue-{source.name}")
    queue.heard_by(source, *EVERYTHING)
    for n in range(25):
        source.put(f"other/{n}", NOTE)
    queue.client.send_message(QueueUrl=queue.url, MessageBody="no event")
    file = configured(source, clouds.bucket("gcs"), queue.settings, deletes="propagate")
    found = said(skyferry("doctor", "--config", file, "--json", "--events"))
    assert states(found, ("a", "event"), ("a", "delete-event"), ("a", "delete"), ("events", "receive")) == ["ok"] * 4
    assert found["a", "event"]["detail"].startswith("after ")
    left = queue.bodies()
    assert sum("skyferry-doctor" in body for body in left) == 0
    assert {f"other/{n}" for n in range(25)} <= {key for body in left for key in keys(body)}
    assert "no event" in left
    assert "mine" in source.items()
    assert len(source.items()) == 26


def keys(body: str) -> list[str]:
    """That a notification of S3 names."""
    document = json.loads(body) if body.startswith("{") else {}
    return [record["s3"]["object"]["key"] for record in document.get("Records", [])]


def test_the_canary_goes_where_the_notification_lets_its_event_through(
    clouds: Clouds, skyferry: Skyferry, source: S3Bucket
) -> None:
    """A route under a prefix, which alone is notified of."""
    queue = Sqs(clouds, f"queue-{source.name}")
    queue.heard_by(source, *EVERYTHING, prefix="raw/")
    file = configured(source, clouds.bucket("gcs"), queue.settings, filter={"prefix": "raw/2026/"})
    told = skyferry("doctor", "--config", file, "--json", "--events")
    assert states(said(told), ("a", "event"), ("r", "notified")) == ["ok", "ok"]
    assert ("a", "delete-event") not in said(told)


def test_no_message_is_received_that_a_redrive_policy_would_take_away_for_it(
    clouds: Clouds, skyferry: Skyferry, source: S3Bucket
) -> None:
    """With one receive to spare it listens; without one it does as soon as nothing waits."""
    dead, queue = Sqs(clouds, f"dead-{source.name}"), Sqs(clouds, f"queue-{source.name}")
    queue.heard_by(source, *EVERYTHING)
    file = configured(source, clouds.bucket("gcs"), queue.settings)
    for spare, state in ((5, "unknown"), (6, "ok")):
        queue.set(RedrivePolicy={"deadLetterTargetArn": dead.arn, "maxReceiveCount": spare})
        found = said(skyferry("doctor", "--config", file, "--json", "--events"))
        assert states(found, ("a", "event")) == [state]
    queue.client.purge_queue(QueueUrl=queue.url)
    queue.set(RedrivePolicy={"deadLetterTargetArn": dead.arn, "maxReceiveCount": 5})
    assert states(said(skyferry("doctor", "--config", file, "--json", "--events")), ("a", "event")) == ["ok"]


def test_a_service_that_runs_may_take_the_event(clouds: Clouds, skyferry: Skyferry, source: S3Bucket) -> None:
    """By its copy it is seen that it came, unless we were faster; neither canary nor copy is left."""
    queue, there = Sqs(clouds, f"queue-{source.name}"), clouds.bucket("gcs")
    queue.heard_by(source, *EVERYTHING)
    file = configured(source, there, queue.settings, deletes="propagate")
    command = [str(Path(sys.executable).with_name("skyferry")), "run", "--no-live", "--listen", "127.0.0.1:0"]
    with subprocess.Popen([*command, "--config", file], stdout=subprocess.DEVNULL) as service:
        try:
            source.put("first", NOTE)
            wait_until(lambda: "first" in there.items())
            found = said(skyferry("doctor", "--config", file, "--json", "--events"))
            assert states(found, ("a", "event")) == ["ok"]
            wait_until(lambda: not any("doctor" in key for key in (*there.items(), *source.items())))
        finally:
            service.terminate()
        assert service.wait(30) == 0


def test_a_topic_in_between_is_seen_through_by_a_canary(clouds: Clouds, skyferry: Skyferry, source: S3Bucket) -> None:
    """The bucket tells SNS, which tells the queue: the configuration of the bucket does not say so."""
    queue = Sqs(clouds, f"queue-{source.name}")
    sns = boto3.Session("any", "any", region_name="us-east-1").client("sns", endpoint_url=clouds.s3)
    topic = sns.create_topic(Name=f"topic-{source.name}")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
    wanted = {"TopicArn": topic, "Events": list(EVERYTHING)}
    source.client.put_bucket_notification_configuration(
        Bucket=source.name, NotificationConfiguration={"TopicConfigurations": [wanted]}
    )
    file = configured(source, clouds.bucket("gcs"), queue.settings, deletes="propagate")
    found = said(skyferry("doctor", "--config", file, "--json", "--events"))
    assert states(found, ("r", "notified"), ("a", "event"), ("a", "delete-event")) == ["unknown", "ok", "ok"]
    assert topic in found["r", "notified"]["detail"]


def test_a_canary_s_event_comes_back_by_a_storage_queue(clouds: Clouds, skyferry: Skyferry) -> None:
    """Azurite has no Event Grid, so what it would put into the queue is put there for it."""
    source = clouds.bucket("azure")
    assert isinstance(source, AzureContainer)
    name = f"queue-{source.client.container_name}"
    queue = QueueServiceClient.from_connection_string(clouds.azure_connection).create_queue(name)
    parts = dict(part.split("=", 1) for part in clouds.azure_connection.strip(";").split(";"))
    settings = {"name": "q", "url": f"azq://{name}?endpoint={parts['QueueEndpoint']}&identity=static"}
    file = configured(source, clouds.bucket("gcs"), settings)

    def tell(key: str, change: str) -> None:
        queue.send_message(
            base64.b64encode(json.dumps(grid(source.client.container_name, key, change)).encode()).decode()
        )

    with telling(lambda: set(source.client.list_blob_names()), tell):
        found = said(skyferry("doctor", "--config", file, "--json", "--events", "--wait", "20"))
    assert states(found, ("a", "event"), ("q", "receive"), ("r", "notified")) == ["ok", "ok", "unknown"]
    assert source.items() == {}


def grid(container: str, key: str, change: str) -> dict[str, object]:
    """An event of Event Grid."""
    return {
        "topic": "/subscriptions/s/resourceGroups/Storage/providers/Microsoft.Storage/storageAccounts/devstoreaccount1",
        "subject": f"/blobServices/default/containers/{container}/blobs/{key}",
        "eventType": f"Microsoft.Storage.Blob{change}",
        "eventTime": "2026-11-23T10:00:00.9584103Z",
        "id": "831e1650-001e-001b-66ab-eeb76e069631",
        "data": {"api": "PutBlob", "contentLength": 68, "blobType": "BlockBlob", "sequencer": "0" * 32},
        "dataVersion": "",
        "metadataVersion": "1",
    }


@contextmanager
def telling(keys_now: Callable[[], set[str]], tell: Callable[[str, str], None]) -> Iterator[None]:
    """Tell of each key that comes and goes, as "Created" and "Deleted"."""
    ended = threading.Event()

    def watch() -> None:
        seen: set[str] = set()
        while not ended.wait(0.02):
            there = keys_now()
            for key in there - seen:
                tell(key, "Created")
            for key in seen - there:
                tell(key, "Deleted")
            seen = there

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_canary_s_event_comes_back_by_pubsub(
    clouds: Clouds, skyferry: Skyferry, pubsub_server: PubSubEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our Cloud Storage tells nobody, so what it would say is published for it; the emulator is Google's."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_server.endpoint)
    source = clouds.bucket("gcs")
    assert isinstance(source, GcsBucket)
    source.put("mine", NOTE)
    topic, subscription = subscribed(pubsub_server.project, source.bucket.name)
    source.bucket.notification(f"topic-{source.bucket.name}", topic_project=pubsub_server.project).create()
    url = f"pubsub://{pubsub_server.project}/{subscription}?endpoint=http://{pubsub_server.endpoint}&identity=anonymous"
    file = configured(source, clouds.bucket("gcs"), {"name": "q", "url": url}, deletes="propagate")
    publish(topic, source.bucket.get_blob("mine"))
    blobs: dict[str, Any] = {}

    def keys_now() -> set[str]:
        found = {blob.name: blob for blob in source.client.list_blobs(source.bucket, prefix="skyferry-doctor/")}
        blobs.update(found)
        return set(found)

    def tell(key: str, change: str) -> None:
        publish(topic, blobs[key], {"Created": "OBJECT_FINALIZE", "Deleted": "OBJECT_DELETE"}[change])

    with telling(keys_now, tell):
        told = skyferry("doctor", "--config", file, "--json", "--events", "--wait", "20")
    found = said(told)
    assert states(found, ("a", "event"), ("r", "notified"), ("r", "deletes"), ("q", "redrive")) == ["ok"] * 4
