"""Inspect a Cloudflare Queue. Permission: to read queues."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skyferry.model import QueueTraits
from skyferry.ports.inspection import QueueFacts, Redrive, Unknown, Wrong
from skyferry.queues.r2.api import QueuesApi

PULL = "http_pull"
DELETED = "nowhere: the message is deleted"
RETRIES = 3  # of a consumer without the setting


async def inspect(api: QueuesApi, traits: QueueTraits) -> QueueFacts:
    """See `InspectableQueue`. Raises QueueError."""
    consumers = await api.call("GET", "/consumers") or []
    pulled = next((each for each in consumers if each.get("type") == PULL), None)
    return QueueFacts(
        endpoint=api.root,
        who=Unknown("Cloudflare does not report the owner of a token"),
        address=Unknown("the notifications of R2 are not visible through its S3 interface"),
        redrive=_redrive(pulled) if pulled else None,
        receives=pulled is not None,
        encryption="by Cloudflare",
        senders=Unknown("Cloudflare does not report the senders"),
        traits=traits,
        notes=("messages expire after the retention period of the queue, four days by default",),
        wrong=tuple(_find_faults(pulled)),
    )


def _redrive(consumer: dict[str, Any]) -> Redrive:
    receives = (consumer.get("settings") or {}).get("max_retries", RETRIES)
    return Redrive(int(receives) + 1, str(consumer.get("dead_letter_queue") or DELETED))


def _find_faults(consumer: dict[str, Any] | None) -> Iterator[Wrong]:
    if consumer is None:
        yield Wrong("it has no pull consumer", "Add one: wrangler queues consumer http add QUEUE.")
    elif not consumer.get("dead_letter_queue"):
        said = "the service deletes a message that was received too often"
        yield Wrong(
            said,
            "Give its consumer a dead-letter queue: wrangler queues consumer http add QUEUE --dead-letter-queue NAME.",
        )
