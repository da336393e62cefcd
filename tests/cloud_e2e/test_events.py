"""What clouds themselves say, from the queue they say it to, to a copy at another cloud. Nothing of ours in between."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # no stubs are published with it
import pytest
import yaml
from azure.storage.queue import QueueServiceClient
from google.cloud import pubsub_v1  # type: ignore[import-untyped]  # as boto3
from tests.cloud_e2e.buckets import AzureContainer, Bucket, Clouds, GcsBucket, Item, S3Bucket
from tests.cloud_e2e.conftest import Skyferry
from tests.processes.running import wait_until

from skyferry.testing.servers.pubsub import PubSubEmulator

NOTE = Item(b"x" * 1000, "text/plain", {"color": "red"})
RUN = ("run", "--until-idle", "--no-live", "--listen", "127.0.0.1:0", "--config")


def configured(source: Bucket, destination: Bucket, queue: dict[str, Any], **route: Any) -> str:
    """The name of a file with one route."""
    stores = {name: {"url": bucket.url.replace("/?", "?")} for name, bucket in (("a", source), ("b", destination))}
    routes = [{"name": "r", "from": "a", "to": "b", **route}]
    Path("skyferry.yaml").write_text(yaml.safe_dump({"stores": stores, "routes": routes, "queues": [queue]}))
    return "skyferry.yaml"


def notifying(bucket: S3Bucket, clouds: Clouds) -> str:
    """The name of a queue that the bucket notifies."""
    client = boto3.Session("any", "any", region_name="us-east-1").client("sqs", endpoint_url=clouds.s3)
    url = client.create_queue(QueueName=f"queue-{bucket.name}")["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    wanted = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
    bucket.client.put_bucket_notification_configuration(
        Bucket=bucket.name, NotificationConfiguration={"QueueConfigurations": [wanted]}
    )
    return f"queue-{bucket.name}"


def test_what_s3_says_to_sqs_is_copied_to_cloud_storage(clouds: Clouds, skyferry: Skyferry) -> None:
    """Creates, overwrites and deletes, though LocalStack's sequencers never move."""
    source, there = clouds.bucket("s3"), clouds.bucket("gcs")
    assert isinstance(source, S3Bucket)
    queue = notifying(source, clouds)
    settings = {
        "name": "s3",
        "url": f"sqs://{queue}?endpoint={clouds.s3}&identity=static&region=us-east-1",
        "lease": "5s",
    }
    file = configured(source, there, settings, deletes="propagate")
    source.put("a b+c/ü.txt", Item(b"old"))
    source.put("gone", NOTE)
    skyferry(*RUN, file)
    assert there.items() == {"a b+c/ü.txt": Item(b"old"), "gone": NOTE}
    source.put("a b+c/ü.txt", NOTE)
    source.client.delete_object(Bucket=source.name, Key="gone")
    skyferry(*RUN, file)
    assert there.items() == {"a b+c/ü.txt": NOTE}


def test_what_event_grid_puts_into_a_storage_queue_is_copied(clouds: Clouds, skyferry: Skyferry) -> None:
    """In base64, as Event Grid does; put there by Azure's client."""
    source, there = clouds.bucket("azure"), clouds.bucket("s3")
    assert isinstance(source, AzureContainer)
    source.put("a b/ü.txt", NOTE)
    container = source.client.container_name
    queue = QueueServiceClient.from_connection_string(clouds.azure_connection).create_queue(f"queue-{container}")
    event = {
        "topic": "/subscriptions/s/resourceGroups/Storage/providers/Microsoft.Storage/storageAccounts/devstoreaccount1",
        "subject": f"/blobServices/default/containers/{container}/blobs/a b/ü.txt",
        "eventType": "Microsoft.Storage.BlobCreated",
        "eventTime": "2026-11-23T10:00:00.9584103Z",
        "id": "831e1650-001e-001b-66ab-eeb76e069631",
        "data": {"api": "PutBlob", "contentLength": 1000, "blobType": "BlockBlob", "sequencer": "0" * 32},
        "dataVersion": "",
        "metadataVersion": "1",
    }
    queue.send_message(base64.b64encode(json.dumps(event).encode()).decode())
    parts = dict(part.split("=", 1) for part in clouds.azure_connection.strip(";").split(";"))
    settings = {"name": "azure", "url": f"azq://queue-{container}?endpoint={parts['QueueEndpoint']}&identity=static"}
    file = configured(source, there, settings)
    skyferry(*RUN, file)
    assert there.items() == {"a b/ü.txt": NOTE}
    assert "queue      azure: 0 ready or in flight\n" in skyferry("status", "--config", file).out


@pytest.mark.usefixtures("skyferry")  # for its environment
def test_what_cloud_storage_says_to_pubsub_is_copied_to_s3(
    clouds: Clouds, pubsub_server: PubSubEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published by Google's client, with the attributes alone, as a notification without payload is."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_server.endpoint)
    source, there = clouds.bucket("gcs"), clouds.bucket("s3")
    assert isinstance(source, GcsBucket)
    source.put("a b/ü.txt", NOTE)
    topic, subscription = subscribed(pubsub_server.project, source.bucket.name)
    url = f"pubsub://{pubsub_server.project}/{subscription}?endpoint=http://{pubsub_server.endpoint}&identity=anonymous"
    file = configured(source, there, {"name": "gcs", "url": url})
    command = [
        str(Path(sys.executable).with_name("skyferry")),
        "run",
        "--no-live",
        "--listen",
        "127.0.0.1:0",
        "--config",
        file,
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as service:
        try:
            publish(topic, source.bucket.get_blob("a b/ü.txt"))
            wait_until(lambda: there.items() == {"a b/ü.txt": NOTE})
        finally:
            service.terminate()
        assert service.wait(30) == 0


def subscribed(project: str, name: str) -> tuple[str, str]:
    """A topic, and the name of a subscription to it."""
    with pubsub_v1.SubscriberClient() as subscriber:
        topic = f"projects/{project}/topics/topic-{name}"
        pubsub_v1.PublisherClient().create_topic(name=topic)
        subscriber.create_subscription(name=f"projects/{project}/subscriptions/sub-{name}", topic=topic)
    return topic, f"sub-{name}"


def publish(topic: str, blob: Any, event: str = "OBJECT_FINALIZE") -> None:
    """What Cloud Storage would."""
    pubsub_v1.PublisherClient().publish(
        topic,
        b"",
        notificationConfig=f"projects/_/buckets/{blob.bucket.name}/notificationConfigs/1",
        eventType=event,
        payloadFormat="NONE",
        bucketId=blob.bucket.name,
        objectId=blob.name,
        objectGeneration=str(blob.generation),
        eventTime="2026-11-23T10:00:00.000000Z",
    ).result(30)
