"""Known messages that Skyferry does not read are named, with the way that works."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skyferry.errors import EventError
from skyferry.events.detect import parse_message

POINTER = ["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": "big", "s3Key": "m-1"}]
EVENTARC = {
    "specversion": "1.0",
    "type": "google.cloud.audit.log.v1.written",
    "source": "//storage.googleapis.com/projects/_/buckets/b",
    "id": "1",
    "time": "2026-01-01T00:00:00Z",
    "data": {"bucket": "b", "name": "k"},
}
STORAGE_OBJECT = {"kind": "storage#object", "selfLink": "https://x", "bucket": "b", "name": "k"}


@pytest.mark.parametrize(
    ("body", "attributes", "said"),
    [
        (POINTER, {}, "Amazon's extended client to s3://big/m-1"),
        (["com.amazon.sqs.javamessaging.MessageS3Pointer", {}], {}, "extended client"),
        (EVENTARC, {}, "an audit log of Eventarc"),
        (STORAGE_OBJECT, {"ce-type": "google.cloud.audit.log.v1.written"}, "an audit log of Eventarc"),
        (STORAGE_OBJECT, {}, "a Cloud Storage object without the attributes"),
        ({"Records": [{"eventSource": "aws:sqs", "body": "{}"}]}, {}, "SQS records as Lambda receives them"),
        (
            {"Records": [{"EventSource": "aws:sns", "Sns": {"Message": "{}"}}]},
            {},
            "SNS records as Lambda receives them",
        ),
        ({"eventType": "com.oraclecloud.objectstorage.createobject", "cloudEventsVersion": "0.1"}, {}, "Oracle Cloud"),
        (
            {"detail-type": "AWS API Call via CloudTrail", "source": "aws.s3", "version": "0", "detail": {}},
            {},
            "CloudTrail",
        ),
        ({"something": "else"}, {}, "docs/reference/events.md"),
    ],
)
def test_it_is_named(body: Any, attributes: dict[str, str], said: str) -> None:
    """The same inside an SNS envelope."""
    raw = json.dumps(body)
    bodies = [raw.encode()] + ([] if attributes else [json.dumps({"Type": "Notification", "Message": raw}).encode()])
    for each in bodies:
        with pytest.raises(EventError) as caught:
            parse_message(each, attributes)
        assert said in caught.value.hint
