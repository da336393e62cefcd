"""Inspect a Pub/Sub subscription. Permission: pubsub.subscriptions.get, which a subscriber does not need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from google.api_core.exceptions import PermissionDenied as Denied
from google.pubsub_v1.services.publisher import PublisherAsyncClient
from google.pubsub_v1.services.subscriber import SubscriberAsyncClient
from google.pubsub_v1.types import Subscription

from skyferry.clouds.callers import google_caller
from skyferry.clouds.credentials import TokenProvider
from skyferry.errors import QueueError, StoreError
from skyferry.ports.inspection import QueueFacts, Redrive, Unknown, Wrong
from skyferry.queues.pubsub.client import SERVICE, Metadata, PubSubClient, PubSubOptions
from skyferry.queues.pubsub.scheme import TRAITS

CONSUME, PUBLISH = "pubsub.subscriptions.consume", "pubsub.topics.publish"
LOOK = Unknown("not permitted (pubsub.subscriptions.get)")


async def inspect(client: PubSubClient, location: str, tokens: TokenProvider, options: PubSubOptions) -> QueueFacts:
    """See `InspectableQueue`."""
    found = await _subscription(client, location)
    return QueueFacts(
        endpoint=options.endpoint or SERVICE,
        who=await _who(tokens, options),
        address=found.topic if found else LOOK,
        redrive=_redrive(found) if found else LOOK,
        receives=await allowed(client.subscriber, client, location, CONSUME),
        encryption=Unknown("a setting of its topic"),
        senders=Unknown("a setting of its topic"),
        traits=TRAITS,
        notes=tuple(_notes(found)) if found else (),
        wrong=tuple(_wrong(found)) if found else (),
    )


async def _subscription(client: PubSubClient, location: str) -> Subscription | None:
    """Return the subscription; None without the permission."""

    async def get(metadata: Metadata, timeout: float) -> Subscription:
        return await client.subscriber.get_subscription(
            subscription=location, metadata=metadata, timeout=timeout, retry=None
        )

    try:
        return await client.call(get)
    except QueueError as error:
        if isinstance(error.__cause__, Denied):
            return None
        raise


async def allowed(
    service: SubscriberAsyncClient | PublisherAsyncClient, client: PubSubClient, resource: str, permission: str
) -> bool | Unknown:
    """Return True if the identity has the permission. Every identity may test its own."""

    async def ask(metadata: Metadata, timeout: float) -> Sequence[str]:
        request = {"resource": resource, "permissions": [permission]}
        answer = await service.test_iam_permissions(request=request, metadata=metadata, timeout=timeout)
        return list(answer.permissions)

    try:
        return permission in await client.call(ask)
    except QueueError:
        return Unknown("the service does not report it")


async def _who(tokens: TokenProvider, options: PubSubOptions) -> str | Unknown:
    """Return the identity. Only tokens for Google are sent to Google."""
    try:
        if await tokens() and options.endpoint:
            return Unknown("the endpoint is not Google's")
        return await google_caller(tokens)
    except StoreError as error:
        return Unknown(error.message)


def _redrive(found: Subscription) -> Redrive | None:
    policy = found.dead_letter_policy
    return Redrive(policy.max_delivery_attempts or 5, policy.dead_letter_topic) if policy.dead_letter_topic else None


def _notes(found: Subscription) -> Iterator[str]:
    if found.enable_exactly_once_delivery:
        yield "exactly once"
    if found.enable_message_ordering:
        yield "ordered by key"
    if found.filter:
        yield f"takes only what its filter lets through: {found.filter}"
    yield f"its own ack deadline of {found.ack_deadline_seconds} s is not used: the lease is asked for"


def _wrong(found: Subscription) -> Iterator[Wrong]:
    if found.topic == "_deleted-topic_":
        yield Wrong("its topic was deleted", "create the subscription anew, on the topic that the bucket notifies")
    if found.push_config.push_endpoint or found.bigquery_config.table or found.cloud_storage_config.bucket:
        yield Wrong("it pushes its messages elsewhere, so none can be pulled", "make a pull subscription for Skyferry")
