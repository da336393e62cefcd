"""One bucket of S3 whose events arrive through SNS, through SNS as raw messages, and through EventBridge; at LocalStack."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # no stubs are published with it
import pytest
import yaml
from tests.cloud_e2e.buckets import Clouds, Item, S3Bucket
from tests.cloud_e2e.conftest import Skyferry
from tests.cloud_e2e.test_events import RUN

OLD, NEW = Item(b"old"), Item(b"x" * 1000, "text/plain", {"color": "red"})
KEY, PLAIN_KEY = (
    "a b+c/ü (1).txt",
    "a/1.txt",
)  # LocalStack, unlike Amazon, encodes the keys that it sends to EventBridge


class Aws:
    """Queues at LocalStack, and what brings the events of one bucket to them."""

    def __init__(self, clouds: Clouds, bucket: S3Bucket) -> None:
        session = boto3.Session("any", "any", region_name="us-east-1")
        self.sqs, self.sns, self.events = (session.client(n, endpoint_url=clouds.s3) for n in ("sqs", "sns", "events"))
        self.clouds, self.bucket = clouds, bucket

    def make_queue(self, name: str) -> tuple[str, str]:
        """Return name and ARN."""
        name = f"{name}-{self.bucket.name}"
        url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return name, found["Attributes"]["QueueArn"]

    def notify(self, **given: Any) -> None:
        self.bucket.client.put_bucket_notification_configuration(
            Bucket=self.bucket.name, NotificationConfiguration=given
        )

    def through_sns(self, *raw: bool) -> list[str]:
        """Return the names of queues that have a subscription to the topic of the bucket."""
        topic = self.sns.create_topic(Name=f"topic-{self.bucket.name}")["TopicArn"]
        names = []
        for each in raw:
            name, arn = self.make_queue("raw" if each else "sns")
            wanted = {"RawMessageDelivery": str(each).lower()}
            self.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=wanted)
            names.append(name)
        changes = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
        self.notify(TopicConfigurations=[{"TopicArn": topic, "Events": changes}])
        return names

    def through_eventbridge(self) -> list[str]:
        """Return the name of a queue that gets the events of the bucket."""
        name, arn = self.make_queue("bridge")
        rule = f"rule-{self.bucket.name}"
        pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [self.bucket.name]}}}
        self.events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
        self.events.put_targets(Rule=rule, Targets=[{"Id": "1", "Arn": arn}])
        self.notify(EventBridgeConfiguration={})
        return [name]

    def wait_for_messages(self, names: list[str], count: int) -> None:
        """Wait until each queue has this many messages."""
        end = time.monotonic() + 30
        for name in names:
            url = self.sqs.get_queue_url(QueueName=name)["QueueUrl"]
            wanted = ["ApproximateNumberOfMessages"]
            while (
                int(self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=wanted)["Attributes"][wanted[0]]) < count
            ):
                assert time.monotonic() < end
                time.sleep(0.1)

    def configure(self, names: list[str], there: Any) -> str:
        """Return the name of a configuration with these queues and one route."""
        urls = [f"sqs://{name}?endpoint={self.clouds.s3}&identity=static&region=us-east-1" for name in names]
        queues = [{"name": f"q{n}", "url": url, "lease": "5s"} for n, url in enumerate(urls)]
        stores = {n: {"url": b.url.replace("/?", "?")} for n, b in (("a", self.bucket), ("b", there))}
        routes = [{"name": "r", "from": "a", "to": "b", "deletes": "propagate"}]
        Path("skyferry.yaml").write_text(yaml.safe_dump({"stores": stores, "routes": routes, "queues": queues}))
        return "skyferry.yaml"


@pytest.mark.parametrize("way", ["sns", "raw", "eventbridge", "both of one topic"])
def test_events_arrive_in_each_envelope(clouds: Clouds, skyferry: Skyferry, way: str) -> None:
    """Creates, overwrites and deletes; through two queues, each object is copied once, and no message is a dead letter."""
    source, there = clouds.bucket("s3"), clouds.bucket("gcs")
    assert isinstance(source, S3Bucket)
    aws = Aws(clouds, source)
    key = PLAIN_KEY if way == "eventbridge" else KEY
    if way == "eventbridge":
        names = aws.through_eventbridge()
    else:
        names = aws.through_sns(*{"sns": [False], "raw": [True]}.get(way, [False, True]))
    file = aws.configure(names, there)
    source.put(key, OLD)
    source.put("gone", NEW)
    aws.wait_for_messages(names, 2)
    skyferry(*RUN, file)
    assert there.items() == {key: OLD, "gone": NEW}
    source.put(key, NEW)
    source.client.delete_object(Bucket=source.name, Key="gone")
    aws.wait_for_messages(names, 2)
    skyferry(*RUN, file)
    assert there.items() == {key: NEW}
    assert skyferry("dead-letters", "list", "--json", "--config", file)["items"] == []
    counts = skyferry("status", "--json", "--config", file)["transfers"]
    assert counts["done"] == 4, counts
