"""The URL scheme of Azure Queue Storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyferry.config.schemes import AT_A_CLOUD, QueueScheme
from skyferry.config.settings import QueueAddress
from skyferry.model import QueueTraits

if TYPE_CHECKING:
    from skyferry.ports import EventQueue
    from skyferry.ports.opening import QueueContext

WEEK = 7 * 24 * 3600.0  # seconds that a message may be hidden
TRAITS = QueueTraits(
    max_lease=WEEK,
    max_hold=WEEK,
    max_delay=WEEK,
    max_send_delay=WEEK,
    depth="estimate",
    prioritized=False,
    deduplicates=False,
    frees_on_close=False,
)


def _complete(settings: QueueAddress, account: str) -> QueueAddress:
    if settings.endpoint:
        return settings
    if not account:
        raise ValueError("azq://QUEUE needs the account: azq://ACCOUNT/QUEUE, or an endpoint")
    return settings.model_copy(update={"endpoint": f"https://{account}.queue.core.windows.net"})


def _open(context: QueueContext) -> EventQueue:
    from skyferry.queues.azure.queue import AzureQueue, AzureQueueOptions

    url, settings = context.where.url, context.where.settings
    options = AzureQueueOptions(settings.endpoint, settings.lease)
    return AzureQueue(context.name, url.queue, context.credentials, options, context.clock)


STORAGE_QUEUE = QueueScheme(
    "azq://ACCOUNT/QUEUE",
    _open,
    options=frozenset({"endpoint", "identity"}),
    settings=AT_A_CLOUD,
    parts=2,
    cloud="azure",
    extra="azure",
    needs=("aiohttp", "azure.identity"),
    traits=TRAITS,
    complete=_complete,
)
