"""An outage of a destination costs no receives: the provider's own dead-letter queue stays empty."""

from __future__ import annotations

import json
from pathlib import Path

import boto3  # type: ignore[import-untyped]  # no stubs are published with it
import yaml
from tests.cloud_e2e.buckets import Clouds, Item, S3Bucket
from tests.cloud_e2e.conftest import Skyferry
from tests.cloud_e2e.test_events import RUN, notifying

RECEIVES = 5
LEASE = 1  # seconds
OUTAGE = (RECEIVES + 3) * LEASE  # from when the store is opened, which is before the first receive


def test_an_outage_of_many_leases_moves_no_message_to_the_dead_letter_queue(clouds: Clouds, skyferry: Skyferry) -> None:
    """Each message may be received five times; the destination fails for longer than five leases; then all is copied."""
    source = clouds.bucket("s3")
    assert isinstance(source, S3Bucket)
    queue = notifying(source, clouds)
    client = boto3.Session("any", "any", region_name="us-east-1").client("sqs", endpoint_url=clouds.s3)
    url, dead = (client.create_queue(QueueName=name)["QueueUrl"] for name in (queue, f"{queue}-dead"))
    arn = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": RECEIVES})
    client.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy})
    where = f"endpoint={clouds.s3}&identity=static&region=us-east-1"
    settings = {
        "stores": {
            "here": {"url": f"s3://{source.name}?{where}&service=localstack"},
            "there": {"url": f"sim://there?outages=0s-{OUTAGE}s"},
        },
        "routes": [{"name": "r", "from": "here", "to": "there"}],
        "queues": [{"name": "q", "url": f"sqs://{queue}?{where}", "lease": f"{LEASE}s"}],
        "breaker": {"cooldown": "0.5s", "max_cooldown": "0.5s"},
        "retry": {"max_delay": "1s"},
    }
    Path("skyferry.yaml").write_text(yaml.safe_dump(settings))
    names = [f"k{number}" for number in range(20)]
    for name in names:
        source.put(name, Item(name.encode()))
    skyferry(*RUN, "skyferry.yaml")
    folder = Path("skyferry-data/there")
    assert sorted(path.name for path in folder.glob("[!.]*")) == sorted(names)
    counts = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    for place in (url, dead):
        attributes = client.get_queue_attributes(QueueUrl=place, AttributeNames=list(counts))["Attributes"]
        assert [int(attributes[count]) for count in counts] == [0, 0], place
