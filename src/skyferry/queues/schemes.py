"""The URL schemes of queues: one row each. Imports no adapter, for settings are checked with these rows."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from skyferry.config.schemes import QueueScheme
from skyferry.queues.azure.scheme import STORAGE_QUEUE
from skyferry.queues.nats.scheme import JETSTREAM, JETSTREAM_TLS
from skyferry.queues.postgres.scheme import POSTGRES_QUEUE
from skyferry.queues.pubsub.scheme import PUBSUB
from skyferry.queues.r2.scheme import R2_QUEUE
from skyferry.queues.redis.scheme import REDIS_STREAM, REDIS_STREAM_TLS
from skyferry.queues.sqs.scheme import SQS

if TYPE_CHECKING:
    from skyferry.ports import DurableQueue, EventQueue
    from skyferry.ports.opening import QueueContext


def _open_file(context: QueueContext) -> EventQueue:
    from skyferry.queues.sqlite.queue import SqliteQueue

    path, lease = context.where.url.path(context.workspace), context.where.settings.lease
    return SqliteQueue(path, context.name, context.owner, context.clock, lease, context.on_health)


def _maintain_file(context: QueueContext) -> DurableQueue:
    from skyferry.queues.sqlite.maintenance import SqliteQueueFile

    return SqliteQueueFile(context.where.url.path(context.workspace), context.clock)


def _open_memory(context: QueueContext) -> EventQueue:
    from skyferry.queues.memory import MemoryQueue

    return MemoryQueue(context.name, context.clock, context.where.settings.lease)


QUEUES: Mapping[str, QueueScheme] = MappingProxyType(
    {
        "sqs": SQS,
        "pubsub": PUBSUB,
        "azq": STORAGE_QUEUE,
        "r2q": R2_QUEUE,
        "nats": JETSTREAM,
        "tls": JETSTREAM_TLS,
        "redis": REDIS_STREAM,
        "rediss": REDIS_STREAM_TLS,
        "postgresql": POSTGRES_QUEUE,
        "sqlite": QueueScheme("sqlite://FILE", _open_file, _maintain_file, path=True),
        "memory": QueueScheme("memory://NAME", _open_memory),
    }
)
