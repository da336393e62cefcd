"""The URL schemes of Redis Streams."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from skyferry.config.schemes import AT_A_SERVER, QueueScheme
from skyferry.config.settings import QueueAddress
from skyferry.model import QueueTraits
from skyferry.redis.address import OPTIONS, VARIABLE, RedisAddress, parse_redis

if TYPE_CHECKING:
    from skyferry.ports import EventQueue
    from skyferry.ports.opening import QueueContext

FORM = "redis://HOST/STREAM"
GROUP = "skyferry"  # the consumer group without the option
TRAITS = QueueTraits(prioritized=False)
WRONG_TYPE = "The key is not a stream. Name another, or add ?list=KEY for a list that MinIO fills."


def _address(settings: QueueAddress) -> RedisAddress:
    return parse_redis(settings.url, FORM, names=1, allow_plain=settings.allow_http)


def _complete(settings: QueueAddress, account: str) -> QueueAddress:
    address = _address(settings)
    if not address.server.option("group", GROUP):
        raise ValueError("option group: the name of the consumer group is empty")
    if address.server.option("list") == address.server.path[0]:
        raise ValueError("option list: a key cannot be a list and a stream: name two keys")
    return settings


def _open(context: QueueContext) -> EventQueue:
    from skyferry.errors import QueueError
    from skyferry.queues.redis.queue import RedisQueue
    from skyferry.redis.client import RedisClient, RedisOptions

    settings = context.where.settings
    options = RedisOptions(_address(settings), settings.tls, wrong_type=WRONG_TYPE)
    client = RedisClient(context.name, options, context.credentials, QueueError)
    return RedisQueue(context.name, client, context.clock, settings.lease)


REDIS_STREAM = QueueScheme(
    FORM,
    _open,
    options=OPTIONS | {"identity", "group", "list"},
    settings=AT_A_SERVER,
    parts=2,
    cloud="server",
    secret_env=VARIABLE,
    extra="redis",
    needs=("redis",),
    traits=TRAITS,
    complete=_complete,
)
REDIS_STREAM_TLS = replace(REDIS_STREAM, form="rediss://HOST/STREAM")
