"""`skyferry doctor` at servers that are set up rightly and wrongly."""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path

import boto3  # type: ignore[import-untyped]  # no stubs are published with it
import yaml
from azure.storage.queue import QueueServiceClient
from tests.cloud_e2e.buckets import AzureContainer, Clouds, GcsBucket, S3Bucket
from tests.cloud_e2e.conftest import Skyferry
from tests.cloud_e2e.doctored import EVERYTHING, NOTE, Sqs, between, said, states, wrong
from tests.cloud_e2e.test_events import configured


def test_all_is_well_and_nothing_is_left(clouds: Clouds, skyferry: Skyferry, source: S3Bucket) -> None:
    """S3 that notifies SQS, to Cloud Storage. Who we are, where, and how both are set up is told."""
    there, queue = clouds.bucket("gcs"), Sqs(clouds, f"queue-{source.name}")
    queue.heard_by(source, *EVERYTHING)
    file = configured(source, there, queue.settings, deletes="propagate")
    told = skyferry("doctor", "--config", file, "--json")
    found = said(told)
    assert (told["ok"], wrong(told)) == (True, [])
    assert found["a", "identity"]["detail"] == "arn:aws:iam::000000000000:root"
    assert found["events", "identity"]["detail"] == "arn:aws:iam::000000000000:root"
    assert found["b", "identity"]["detail"] == "anonymous"
    assert (found["a", "region"]["detail"], found["a", "versioning"]["detail"]) == ("us-east-1", "off")
    assert found["a", "encryption"]["detail"] == "AES256"
    needed = [
        ("a", "list"),
        ("a", "read"),
        ("a", "clock"),
        ("b", "write"),
        ("b", "read"),
        ("b", "delete"),
        ("b", "clock"),
    ]
    heard = [("r", "notified"), ("r", "deletes"), ("r", "sender"), ("events", "redrive"), ("events", "lease")]
    assert set(states(found, *needed, *heard)) == {"ok"}
    assert states(found, ("events", "receive")) == ["unknown"]
    assert (there.items(), list(source.items())) == ({}, ["mine"])


def test_a_missing_event_is_reported(clouds: Clouds, skyferry: Skyferry, source: S3Bucket) -> None:
    """The bucket notifies nobody, which its configuration shows: no canary is needed."""
    queue = Sqs(clouds, f"queue-{source.name}")
    file = configured(source, clouds.bucket("gcs"), queue.settings)
    told = skyferry("doctor", "--config", file, "--json", "--events", code=1)
    assert (wrong(told), states(said(told), ("a", "event"))) == ([("r", "notified")], ["unknown"])
    assert list(source.items()) == ["mine"]


def test_an_incomplete_notification_is_reported(clouds: Clouds, skyferry: Skyferry, source: S3Bucket) -> None:
    """Keys that the route takes, and deletes that it propagates."""
    queue = Sqs(clouds, f"queue-{source.name}")
    queue.heard_by(source, "s3:ObjectCreated:*", prefix="raw/")
    told = skyferry(
        "doctor",
        "--config",
        configured(source, clouds.bucket("gcs"), queue.settings, deletes="propagate"),
        "--json",
        code=1,
    )
    assert wrong(told) == [("r", "notified"), ("r", "deletes")]
    assert "raw/*" in said(told)["r", "notified"]["detail"]


def test_a_bucket_that_notifies_another_queue_is_reported(clouds: Clouds, skyferry: Skyferry, source: S3Bucket) -> None:
    """With the address that it tells."""
    other, queue = Sqs(clouds, f"other-{source.name}"), Sqs(clouds, f"queue-{source.name}")
    other.heard_by(source, *EVERYTHING)
    told = skyferry("doctor", "--config", configured(source, clouds.bucket("gcs"), queue.settings), "--json", code=1)
    assert wrong(told) == [("r", "notified")]
    assert other.arn in said(told)["r", "notified"]["detail"]


def test_a_bucket_that_notifies_the_queue_of_another_store_is_reported(
    clouds: Clouds, skyferry: Skyferry, source: S3Bucket
) -> None:
    """By its settings, the queue brings no events of this store."""
    queue, mine = Sqs(clouds, f"queue-{source.name}"), Sqs(clouds, f"mine-{source.name}")
    queue.heard_by(source, *EVERYTHING)
    file = configured(source, clouds.bucket("gcs"), queue.settings | {"stores": "b"})
    settings = yaml.safe_load(Path(file).read_text())
    settings["queues"].append(mine.settings | {"name": "mine"})
    Path(file).write_text(yaml.safe_dump(settings))
    told = skyferry("doctor", "--config", file, "--json", code=1)
    assert wrong(told) == [("r", "notified")]
    assert queue.arn in said(told)["r", "notified"]["detail"]


def test_a_redrive_policy_that_is_too_low_is_reported(clouds: Clouds, skyferry: Skyferry, source: S3Bucket) -> None:
    """To wait for twelve hours takes five receives; and a policy that lets S3 not send is seen as well."""
    dead, queue = Sqs(clouds, f"dead-{source.name}"), Sqs(clouds, f"queue-{source.name}")
    queue.heard_by(source, *EVERYTHING)
    queue.set(RedrivePolicy={"deadLetterTargetArn": dead.arn, "maxReceiveCount": 4})
    queue.set(
        Policy={
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "SQS:*", "Resource": "*"}
            ],
        }
    )
    file = configured(source, clouds.bucket("gcs"), queue.settings)
    told = skyferry("doctor", "--config", file, "--json", code=1)
    assert wrong(told) == [("events", "redrive"), ("r", "sender")]
    queue.set(RedrivePolicy={"deadLetterTargetArn": dead.arn, "maxReceiveCount": 5})
    assert wrong(skyferry("doctor", "--config", file, "--json", code=1)) == [("r", "sender")]


def test_a_queue_with_a_key_that_no_service_may_use_is_reported(
    clouds: Clouds, skyferry: Skyferry, source: S3Bucket
) -> None:
    """LocalStack does not mind, Amazon's S3 does."""
    queue = Sqs(clouds, f"queue-{source.name}")
    queue.heard_by(source, *EVERYTHING)
    queue.client.set_queue_attributes(QueueUrl=queue.url, Attributes={"KmsMasterKeyId": "alias/aws/sqs"})
    told = skyferry("doctor", "--config", configured(source, clouds.bucket("gcs"), queue.settings), "--json", code=1)
    assert wrong(told) == [("r", "sender")]
    assert said(told)["events", "encryption"]["detail"] == "aws:kms alias/aws/sqs"


def test_a_bucket_in_another_region_is_reported(clouds: Clouds, skyferry: Skyferry) -> None:
    """With the region to set."""
    client = boto3.Session("any", "any", region_name="eu-west-1").client("s3", endpoint_url=clouds.s3)
    client.create_bucket(Bucket="in-europe", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    url = f"s3://in-europe?endpoint={clouds.s3}&service=localstack&identity=static&region=us-east-1"
    told = skyferry("doctor", "--config", between(url, clouds.bucket("file").url), "--json", code=1)
    found = said(told)["a", "settings"]
    assert (found["state"], found["hint"]) == ("wrong", "set the store's region to eu-west-1")


def test_a_missing_resource_is_reported_once(clouds: Clouds, skyferry: Skyferry, source: S3Bucket) -> None:
    """A bucket, and a queue: nothing else is said of them."""
    absent = f"s3://no-such-bucket-here?endpoint={clouds.s3}&service=localstack&identity=static"
    file = between(source.url, absent)
    document = yaml.safe_load(Path(file).read_text())
    document["queues"] = [{"name": "q", "url": f"sqs://no-such-queue?endpoint={clouds.s3}&identity=static"}]
    Path(file).write_text(yaml.safe_dump(document))
    told = skyferry("doctor", "--config", file, "--json", code=1)
    assert wrong(told) == [("b", "reach"), ("q", "reach"), ("r", "notified")]
    assert [check["check"] for check in told["checks"] if check["where"] == "b"] == ["reach"]
    assert "QueueDoesNotExist" in said(told)["q", "reach"]["detail"]


def test_a_bucket_that_would_keep_a_canary_gets_none(clouds: Clouds, skyferry: Skyferry) -> None:
    """By a retention policy; what the provider says of our rights counts."""
    there = clouds.bucket("gcs")
    assert isinstance(there, GcsBucket)
    there.bucket.retention_period = 86400
    there.bucket.patch()
    told = skyferry("doctor", "--config", between(clouds.bucket("file").url, there.url), "--json")
    found = said(told)
    assert states(found, ("b", "write"), ("b", "retention")) == ["ok", "unknown"]
    assert "not tried" in found["b", "write"]["detail"]
    assert there.items() == {}


def test_what_may_not_be_looked_at_is_no_fault(clouds: Clouds, skyferry: Skyferry) -> None:
    """A 403 to each look-up of a bucket of Cloud Storage: it works all the same, and each permission is named."""
    source = clouds.bucket("gcs")
    source.put("mine", NOTE)
    denied = {
        "status": 403,
        "body": json.dumps({"error": {"code": 403, "message": "no", "errors": [{"reason": "forbidden"}]}}),
    }
    faults = [{"method": "GET", "target": target, **denied} for target in ("?fields=location", "notificationConfigs")]
    urllib.request.urlopen(urllib.request.Request(f"{clouds.gcs}/_fake/faults", json.dumps(faults).encode())).close()
    settings = Sqs(clouds, "not-looked").settings
    told = skyferry("doctor", "--config", configured(source, clouds.bucket("s3"), settings), "--json")
    found = said(told)
    assert (
        found["a", "versioning"]["detail"] == found["r", "notified"]["detail"] == "not permitted (storage.buckets.get)"
    )
    assert told["ok"]


def test_a_queue_of_dead_letters_is_asked_and_gets_no_message(
    clouds: Clouds, skyferry: Skyferry, source: S3Bucket
) -> None:
    """SQS does not tell whether we may send, so it is not known; one that is not there is wrong."""
    dead, queue = Sqs(clouds, f"dead-{source.name}"), Sqs(clouds, f"queue-{source.name}")
    queue.heard_by(source, *EVERYTHING)
    file = configured(source, clouds.bucket("gcs"), queue.settings)
    document = yaml.safe_load(Path(file).read_text())
    for name, ok in ((dead.name, True), ("no-such-queue", False)):
        url = f"sqs://{name}?endpoint={clouds.s3}&identity=static&region=us-east-1"
        Path(file).write_text(yaml.safe_dump({**document, "dead_letters": {"url": url}}))
        told = skyferry("doctor", "--config", file, "--json", code=0 if ok else 1)
        assert wrong(told) == ([] if ok else [("dead-letters", "reach")])
        if ok:
            assert states(said(told), ("dead-letters", "reach"), ("dead-letters", "send")) == ["ok", "unknown"]
    assert dead.bodies() == []


def test_secrets_are_never_shown(clouds: Clouds, skyferry: Skyferry, source: S3Bucket) -> None:
    """Neither the account key nor what signs for S3."""
    printed = skyferry("doctor", "--config", between(source.url, clouds.bucket("azure").url))
    assert os.environ["AZURE_STORAGE_KEY"] not in printed.out + printed.err
    assert "a key of the account devstoreaccount1" in printed.out


def test_azure_reports_what_it_can(clouds: Clouds, skyferry: Skyferry) -> None:
    """A container and its queue; who is notified it does not tell, so it is not known, and no fault."""
    source = clouds.bucket("azure")
    assert isinstance(source, AzureContainer)
    source.put("mine", NOTE)
    name = f"queue-{source.client.container_name}"
    QueueServiceClient.from_connection_string(clouds.azure_connection).create_queue(name)
    parts = dict(part.split("=", 1) for part in clouds.azure_connection.strip(";").split(";"))
    settings = {"name": "q", "url": f"azq://{name}?endpoint={parts['QueueEndpoint']}&identity=static"}
    told = skyferry("doctor", "--config", configured(source, clouds.bucket("azure"), settings), "--json")
    found = said(told)
    assert told["ok"]
    assert states(found, ("a", "read"), ("b", "delete"), ("q", "reach"), ("r", "notified")) == [
        "ok",
        "ok",
        "ok",
        "unknown",
    ]
    assert (found["a", "versioning"]["detail"], found["a", "encryption"]["detail"]) == ("off", "by the account's key")
