"""What `skyferry doctor` is shown, and what it said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # no stubs are published with it
import yaml
from tests.cloud_e2e.buckets import Clouds, Item, S3Bucket

NOTE = Item(b"x" * 1000, "text/plain")
EVERYTHING = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")
Found = dict[tuple[str, str], dict[str, str]]  # by place and name


class Sqs:
    """A queue with the policy that Amazon wants, by boto3."""

    def __init__(self, clouds: Clouds, name: str) -> None:
        self.client = boto3.Session("any", "any", region_name="us-east-1").client("sqs", endpoint_url=clouds.s3)
        self.name, self.url = name, self.client.create_queue(QueueName=name)["QueueUrl"]
        self.arn = f"arn:aws:sqs:us-east-1:000000000000:{name}"
        allow = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage"}
        self.set(Policy={"Version": "2012-10-17", "Statement": [{**allow, "Resource": self.arn}]})
        self.settings = {
            "name": "events",
            "url": f"sqs://{name}?endpoint={clouds.s3}&identity=static&region=us-east-1",
            "lease": "5s",
        }

    def set(self, **attributes: object) -> None:
        """Attributes that are documents."""
        self.client.set_queue_attributes(
            QueueUrl=self.url, Attributes={k: json.dumps(v) for k, v in attributes.items()}
        )

    def heard_by(self, bucket: S3Bucket, *events: str, prefix: str = "") -> None:
        """Let the bucket notify it, and receive what it says at once."""
        rules = {"Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}}} if prefix else {}
        wanted = {"QueueArn": self.arn, "Events": events, **rules}
        bucket.client.put_bucket_notification_configuration(
            Bucket=bucket.name, NotificationConfiguration={"QueueConfigurations": [wanted]}
        )

    def bodies(self) -> list[str]:
        """Of all messages, received and left there."""
        found: dict[str, str] = {}
        for _ in range(5):
            answer = self.client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, VisibilityTimeout=2)
            found |= {m["MessageId"]: m["Body"] for m in answer.get("Messages", [])}
        return list(found.values())


def said(told: dict[str, Any]) -> Found:
    """What doctor printed, by place and name."""
    return {(check["where"], check["check"]): check for check in told["checks"]}


def states(found: Found, *wanted: tuple[str, str]) -> list[str]:
    """Of these checks."""
    return [found[each]["state"] for each in wanted]


def wrong(told: dict[str, Any]) -> list[tuple[str, str]]:
    """Where and what; each has a hint."""
    bad = [check for check in told["checks"] if check["state"] == "wrong"]
    assert all(check["hint"] for check in bad)
    return [(check["where"], check["check"]) for check in bad]


def between(source: str, destination: str) -> str:
    """A configuration with the default queue."""
    stores = {"a": {"url": source.replace("/?", "?")}, "b": {"url": destination.replace("/?", "?")}}
    stores = {name: {"url": s["url"] if "://" in s["url"] else f"file://{s['url']}"} for name, s in stores.items()}
    routes = [{"name": "r", "from": "a", "to": "b"}]
    Path("skyferry.yaml").write_text(yaml.safe_dump({"stores": stores, "routes": routes}))
    return "skyferry.yaml"
