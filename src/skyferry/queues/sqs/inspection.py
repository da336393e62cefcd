"""Inspect the settings of an SQS queue. Permission: sqs:GetQueueAttributes, as for its depth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from skyferry.clouds.callers import aws_caller
from skyferry.clouds.credentials import S3Provider
from skyferry.errors import StoreError
from skyferry.model import QueueTraits
from skyferry.ports.inspection import QueueFacts, Redrive, Unknown, Wrong
from skyferry.queues.sqs.client import SqsClient, SqsOptions

OWN_KEY = "alias/aws/sqs"  # no service of Amazon can be granted its use ("Key management", SQS Developer Guide)
BARRED = Wrong(
    f"it is encrypted by {OWN_KEY}, which no service may use", "encrypt it by SSE-SQS, or by a key of your own"
)
SEND = ("*", "sqs:*", "sqs:sendmessage")


async def inspect(client: SqsClient, credentials: S3Provider, options: SqsOptions, traits: QueueTraits) -> QueueFacts:
    """See `InspectableQueue`."""
    found: dict[str, str] = (await client.call("GetQueueAttributes", AttributeNames=["All"])).get("Attributes", {})
    return QueueFacts(
        endpoint=client.root,
        who=await _who(credentials, client, options),
        address=found.get("QueueArn") or Unknown("the service does not report it"),
        redrive=_redrive(found.get("RedrivePolicy", "")),
        receives=Unknown("SQS does not report permissions"),
        encryption=_encryption(found),
        senders=_senders(found.get("Policy", ""), options),
        barred=BARRED if found.get("KmsMasterKeyId", "").endswith(OWN_KEY) else None,
        traits=traits,
        notes=tuple(_notes(found)),
    )


async def _who(credentials: S3Provider, client: SqsClient, options: SqsOptions) -> str | Unknown:
    try:
        return await aws_caller(credentials, client.region, options.endpoint)
    except StoreError as error:  # not of the credentials: `call` has used them
        return Unknown(error.message)


def _redrive(text: str) -> Redrive | None:
    policy = orjson.loads(text) if text else {}
    return Redrive(int(policy["maxReceiveCount"]), policy["deadLetterTargetArn"]) if policy else None


def _encryption(found: dict[str, str]) -> str:
    if found.get("KmsMasterKeyId"):
        return f"aws:kms {found['KmsMasterKeyId']}"
    return "by SQS's keys" if found.get("SqsManagedSseEnabled") == "true" else "none"


def _senders(policy: str, options: SqsOptions) -> frozenset[str] | Unknown:
    """Return the senders that the queue's policy allows. Services other than Amazon's may ignore it."""
    if not policy:
        return Unknown("the service may not need a policy") if options.endpoint else frozenset()
    try:
        return frozenset(senders(orjson.loads(policy)))
    except orjson.JSONDecodeError:
        return Unknown("its policy is not JSON")


def senders(policy: dict[str, Any]) -> Iterator[str]:
    """Iterate over services and accounts that a policy allows to send. Conditions are ignored."""
    for statement in _listed(policy.get("Statement")):
        actions = [str(action).lower() for action in _listed(statement.get("Action"))]
        if statement.get("Effect") != "Allow" or not any(action in SEND for action in actions):
            continue
        principal = statement.get("Principal", {})
        if isinstance(principal, str):
            yield principal
        else:
            yield from (str(each) for kind in principal.values() for each in _listed(kind))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _notes(found: dict[str, str]) -> Iterator[str]:
    if found.get("FifoQueue") == "true":
        yield "first in, first out within a group"
    if (delay := int(found.get("DelaySeconds", 0))) > 0:
        yield f"each message comes {delay} s late"
    if kept := found.get("MessageRetentionPeriod"):
        yield f"keeps messages for {int(kept) / 86400:g} days"
    if own := found.get("VisibilityTimeout"):
        yield f"its own visibility timeout of {own} s is not used: each receive names the lease"
