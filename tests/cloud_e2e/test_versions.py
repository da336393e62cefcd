"""Sources that keep versions: whatever is deleted or brought back there, the destination ends with what the source holds.

Each provider's events are put into SQS, for transport and format are different things.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.cloud_e2e.buckets import AzureContainer, Bucket, Clouds, GcsBucket, Item, S3Bucket
from tests.cloud_e2e.conftest import Skyferry
from tests.cloud_e2e.doctored import EVERYTHING, Sqs
from tests.cloud_e2e.test_doctor_events import grid
from tests.cloud_e2e.test_events import RUN, configured

ONE, TWO = Item(b"one"), Item(b"two")
Tell = Callable[[Any], None]


@pytest.fixture
def told(clouds: Clouds, skyferry: Skyferry, request: pytest.FixtureRequest) -> Callable[[Bucket, Bucket], Tell]:
    """Of two buckets, what puts an event into the queue and lets everything that is there be settled."""
    queue = Sqs(clouds, f"versions-{abs(hash(request.node.name))}")

    def between(source: Bucket, there: Bucket) -> Tell:
        file = configured(source, there, queue.settings, deletes="propagate")

        def tell(event: Any) -> None:
            queue.client.send_message(QueueUrl=queue.url, MessageBody=json.dumps(event))
            skyferry(*RUN, file)

        return tell

    return between


@pytest.mark.parametrize("numbered", [False, True])
def test_s3(clouds: Clouds, told: Callable[[Bucket, Bucket], Tell], numbered: bool) -> None:
    """As LocalStack tells it, whose sequencers never move, so that none counts; and with sequencers that rise, as Amazon's."""
    source, there = clouds.bucket("s3"), clouds.bucket("gcs")
    assert isinstance(source, S3Bucket)
    if numbered:
        as_amazon(source)
    said, tell = Sqs(clouds, f"said-{source.name.partition('.')[0]}"), told(source, there)
    s3, at = source.client, {"Bucket": source.name, "Key": "k"}
    s3.put_bucket_versioning(Bucket=source.name, VersioningConfiguration={"Status": "Enabled"})
    said.heard_by(source, *EVERYTHING)
    said.client.purge_queue(QueueUrl=said.url)
    step = 0

    def settle(expected: dict[str, bytes]) -> None:
        """What S3 has said of the last change."""
        nonlocal step
        step += 1
        answer = said.client.receive_message(QueueUrl=said.url, WaitTimeSeconds=10)["Messages"][0]
        said.client.delete_message(QueueUrl=said.url, ReceiptHandle=answer["ReceiptHandle"])
        event = json.loads(answer["Body"])
        if numbered:
            event["Records"][0]["s3"]["object"]["sequencer"] = f"0055AED6DCD9{step:04X}"
        tell(event)
        assert kept(source) == kept(there) == expected

    first = s3.put_object(**at, Body=b"one")["VersionId"]
    settle({"k": b"one"})
    marker = s3.delete_object(**at)["VersionId"]
    settle({})
    s3.delete_object(**at, VersionId=marker)  # undelete
    settle({"k": b"one"})
    second = s3.put_object(**at, Body=b"two")["VersionId"]
    settle({"k": b"two"})
    s3.delete_object(**at, VersionId=second)  # the older version is the current one again
    settle({"k": b"one"})
    third = s3.put_object(**at, Body=b"three")["VersionId"]
    settle({"k": b"three"})
    s3.delete_object(**at, VersionId=first)  # which is not the current one
    settle({"k": b"three"})
    s3.delete_object(**at, VersionId=third)
    settle({})


def kept(bucket: Bucket) -> dict[str, bytes]:
    """Without content types, of which boto3 and LocalStack each have their own."""
    return {key: item.data for key, item in bucket.items().items()}


def as_amazon(bucket: S3Bucket) -> None:
    """Another bucket on LocalStack, which Skyferry takes for one of Amazon's, so that sequencers count."""
    endpoint = bucket.client.meta.endpoint_url
    bucket.name = f"{bucket.name}.versions"  # a dot in the name makes it path-style
    bucket.client.create_bucket(Bucket=bucket.name)
    bucket.url = f"s3://{bucket.name}/?endpoint={endpoint}&service=aws&region=us-east-1&identity=static"


def test_cloud_storage(clouds: Clouds, told: Callable[[Bucket, Bucket], Tell]) -> None:
    """To delete what is live brings nothing back; to restore makes a new generation. The fake restores by a copy, as it has
    no soft delete: of that Google's documentation says that it gives a new generation, too.
    """
    source, there = clouds.bucket("gcs"), clouds.bucket("s3")
    assert isinstance(source, GcsBucket)
    source.bucket.versioning_enabled = True
    source.bucket.patch()
    tell = told(source, there)

    def say(kind: str, generation: int, **more: str) -> None:
        attributes = {
            "notificationConfig": f"projects/_/buckets/{source.bucket.name}/notificationConfigs/1",
            "eventType": f"OBJECT_{kind}",
            "payloadFormat": "NONE",
            "bucketId": source.bucket.name,
            "objectId": "k",
            "objectGeneration": str(generation),
            "eventTime": "2026-11-23T10:00:00.000000Z",
            **more,
        }
        tell({"message": {"attributes": attributes, "data": "", "messageId": "1"}, "subscription": "s"})

    def live() -> int:
        return int(source.bucket.get_blob("k").generation)

    source.put("k", ONE)
    say("FINALIZE", first := live())
    source.put("k", TWO)
    say("FINALIZE", second := live())
    say("ARCHIVE", first, overwrittenByGeneration=str(second))
    assert there.items() == {"k": TWO}
    source.bucket.delete_blob("k", generation=first)
    say("DELETE", first)
    assert there.items() == {"k": TWO}
    source.bucket.delete_blob("k")
    say("ARCHIVE", second)
    assert source.items() == there.items() == {}
    source.bucket.copy_blob(source.bucket.blob("k"), source.bucket, "k", source_generation=second)
    say("FINALIZE", third := live())
    assert source.items() == there.items() == {"k": TWO}
    source.bucket.delete_blob("k", generation=third)
    say("DELETE", third)
    assert source.items() == there.items() == {}


def test_azure(clouds: Clouds, skyferry: Skyferry, told: Callable[[Bucket, Bucket], Tell]) -> None:
    """Event Grid has no event for an undelete: `skyferry copy` brings over what came back, and what follows is heard again.

    Azurite has no undelete, so the same blob is put there and nobody told.
    """
    source, there = clouds.bucket("azure"), clouds.bucket("s3")
    assert isinstance(source, AzureContainer)
    tell = told(source, there)

    def say(change: str, step: int) -> None:
        event = grid(source.client.container_name, "k", change)
        event["id"] = f"831e1650-001e-001b-66ab-eeb76e06963{step}"
        event["data"] = {"api": "any", "blobType": "BlockBlob", "sequencer": f"{step:032}"}
        tell(event)

    source.put("k", ONE)
    say("Created", 1)
    assert there.items() == {"k": ONE}
    source.client.delete_blob("k")
    say("Deleted", 2)
    assert there.items() == {}
    source.put("k", ONE)
    skyferry("copy", source.url, there.url)
    assert source.items() == there.items() == {"k": ONE}
    source.client.delete_blob("k")
    say("Deleted", 3)
    assert source.items() == there.items() == {}
