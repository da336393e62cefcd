"""The URL scheme of Pub/Sub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyferry.config.schemes import AT_A_CLOUD, QueueScheme
from skyferry.config.settings import DeadLetterSettings, QueueAddress
from skyferry.model import QueueTraits

if TYPE_CHECKING:
    from skyferry.ports import EventQueue
    from skyferry.ports.opening import QueueContext

DEADLINE = 600.0  # seconds, the longest ack deadline
TRAITS = QueueTraits(
    max_lease=DEADLINE,
    max_delay=DEADLINE,
    max_send_delay=0.0,
    depth="unknown",
    prioritized=False,
    deduplicates=False,
    limits_receives=True,
    frees_on_close=False,
)


def _complete(settings: QueueAddress, account: str) -> QueueAddress:
    """Require what is used: dead letters need a topic, but no subscription to it."""
    if isinstance(settings, DeadLetterSettings):
        if not settings.topic:
            raise ValueError("dead letters need a topic: pubsub://PROJECT/SUBSCRIPTION?topic=TOPIC")
    elif not account:
        raise ValueError("pubsub:// needs project and subscription: pubsub://PROJECT/SUBSCRIPTION")
    return settings


def _open(context: QueueContext) -> EventQueue:
    from skyferry.queues.pubsub.client import PubSubOptions
    from skyferry.queues.pubsub.queue import PubSubQueue

    url, settings = context.where.url, context.where.settings
    topic = url.topic(settings.topic) if settings.topic else ""
    options = PubSubOptions(topic=topic, endpoint=settings.endpoint, lease=settings.lease)
    subscription = f"projects/{url.account}/subscriptions/{url.queue}"
    return PubSubQueue(context.name, subscription, context.credentials, options, context.clock)


PUBSUB = QueueScheme(
    "pubsub://PROJECT/SUBSCRIPTION",
    _open,
    options=frozenset({"endpoint", "identity", "topic"}),
    settings=AT_A_CLOUD | {"topic"},
    parts=2,
    cloud="google",
    extra="pubsub",
    needs=("google.cloud.pubsub_v1",),
    traits=TRAITS,
    complete=_complete,
    sends=lambda settings: bool(settings.topic),
    unreadable="Create a subscription to its topic, and set pubsub://PROJECT/SUBSCRIPTION?topic=TOPIC.",
)
