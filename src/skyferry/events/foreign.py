"""Recognise messages that Skyferry does not read, and hint at the way that works. Pure."""

from __future__ import annotations

from collections.abc import Mapping

POINTER = "S3Pointer"  # in the class names of the extended clients for SQS and SNS
AUDIT_LOG = "google.cloud.audit.log."  # the type of Eventarc's events of other triggers than Cloud Storage's own
RECORDS = {  # eventSource of records that are not S3's
    "aws:sqs": "SQS records as Lambda receives them: the events are in their `body`; connect the queue itself",
    "aws:kinesis": "Kinesis records: let the bucket notify SQS",
    "aws:dynamodb": "DynamoDB stream records: let the bucket notify SQS",
    "aws:ses": "SES records: let the bucket notify SQS",
}
SNS_RECORDS = "SNS records as Lambda receives them: subscribe the queue to the topic"
OTHERS = (  # combinations of members that identify a message, and its description
    (("eventType", "cloudEventsVersion"), "an event of Oracle Cloud: send it on as a native event"),
    (("kind", "selfLink", "bucket"), "a Cloud Storage object without the attributes of its notification: pull the "
     "subscription that the bucket notifies, or turn off payload unwrapping of the push subscription"),
    (("mail", "notificationType"), "a notification of SES about mail"),
    (("AlarmName", "NewStateValue"), "an alarm of CloudWatch"),
    (("protoPayload", "logName"), "an audit log of Google Cloud: let the bucket notify Pub/Sub"),
)  # fmt: skip


def explain(data: object, attributes: Mapping[str, str]) -> str:
    """Return a description of the message and the way that works, or "" if the message is unknown."""
    if isinstance(data, list):
        return _pointer(data)
    kind = attributes.get("ce-type") or (data.get("type") if isinstance(data, dict) else "")
    if isinstance(kind, str) and kind.startswith(AUDIT_LOG):
        return (
            "This is an audit log of Eventarc. Create the trigger for google.cloud.storage.object.v1.finalized instead."
        )
    if not isinstance(data, dict):
        return ""
    if "CloudTrail" in str(data.get("detail-type")):
        return "This is an API call as CloudTrail records it. Let the bucket itself send its events to EventBridge."
    records = data.get("Records")
    first = records[0] if isinstance(records, list) and records else None
    if isinstance(first, dict):
        those = SNS_RECORDS if "Sns" in first else RECORDS.get(str(first.get("eventSource")), "")
        return f"These are {those}." if those else ""
    found = next((text for names, text in OTHERS if all(name in data for name in names)), "")
    return f"This is {found}." if found else ""


def _pointer(data: list[object]) -> str:
    """Recognise ["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": …, "s3Key": …}]."""
    if len(data) == 2 and isinstance(data[0], str) and POINTER in data[0] and isinstance(data[1], dict):
        bucket, key = (str(data[1].get(name, "?"))[:200] for name in ("s3BucketName", "s3Key"))
        return (
            f"This is a pointer of Amazon's extended client to s3://{bucket}/{key}. Pointers are not followed: send "
            "notifications through SQS itself, which accepts 1 MiB, or submit the content of that object."
        )
    return ""
