"""The URL scheme of Amazon SQS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyferry.config.schemes import AT_A_CLOUD, QueueScheme

if TYPE_CHECKING:
    from skyferry.ports import EventQueue
    from skyferry.ports.opening import QueueContext


def _open(context: QueueContext) -> EventQueue:
    from skyferry.queues.sqs.client import SqsOptions
    from skyferry.queues.sqs.queue import SqsQueue

    url, settings = context.where.url, context.where.settings
    region = settings.region or context.region or "us-east-1"
    options = SqsOptions(settings.endpoint, region, url.account, max(1, round(settings.lease)))
    return SqsQueue(context.name, url.queue, context.credentials, options, context.clock)


SQS = QueueScheme(
    "sqs://QUEUE",
    _open,
    options=frozenset({"endpoint", "identity", "region"}),
    settings=AT_A_CLOUD | {"region"},
    parts=2,
    cloud="aws",
    extra="s3",
    needs=("aiohttp", "botocore"),
    lease=12 * 3600,
)
