"""The URL scheme of Cloudflare Queues, which R2 notifies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyferry.config.schemes import AT_A_CLOUD, QueueScheme
from skyferry.config.settings import QueueAddress
from skyferry.model import QueueTraits

if TYPE_CHECKING:
    from skyferry.ports import EventQueue
    from skyferry.ports.opening import QueueContext

API = "https://api.cloudflare.com/client/v4"
LONGEST = 12 * 3600.0  # seconds of a visibility timeout or a delay ("Pull consumers", "Limits", Cloudflare Queues)
LEASES = 120  # a lease cannot be renewed, so a message is hidden for as many leases at once: an hour by default
TRAITS = QueueTraits(
    max_lease=LONGEST,
    max_hold=LONGEST,
    max_delay=LONGEST,
    max_send_delay=LONGEST,
    depth="estimate",
    prioritized=False,
    deduplicates=False,
    limits_receives=True,
    frees_on_close=False,
)


def _complete(settings: QueueAddress, account: str) -> QueueAddress:
    if not account:
        raise ValueError("r2q://QUEUE needs the account: r2q://ACCOUNT/QUEUE")
    if settings.identity.kind != "static":
        raise ValueError(
            "r2q:// needs an API token: identity: {kind: static, secret_file: FILE}, or CLOUDFLARE_API_TOKEN"
        )
    return settings if settings.endpoint else settings.model_copy(update={"endpoint": API})


def _open(context: QueueContext) -> EventQueue:
    from skyferry.queues.r2.queue import R2Queue, R2QueueOptions

    url, settings = context.where.url, context.where.settings
    options = R2QueueOptions(url.account, settings.endpoint, min(LONGEST, settings.lease * LEASES))
    return R2Queue(context.name, url.queue, context.credentials, options, context.clock)


R2_QUEUE = QueueScheme(
    "r2q://ACCOUNT/QUEUE",
    _open,
    options=frozenset({"endpoint", "identity"}),
    settings=AT_A_CLOUD,
    parts=2,
    cloud="cloudflare",
    extra="s3",
    needs=("aiohttp",),
    traits=TRAITS,
    complete=_complete,
)
