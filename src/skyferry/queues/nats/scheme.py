"""The URL schemes of NATS JetStream."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from skyferry.config.schemes import AT_A_SERVER, QueueScheme
from skyferry.config.servers.address import ServerAddress, parse_server, require_names, require_server_tls
from skyferry.config.settings import DeadLetterSettings, QueueAddress
from skyferry.model import QueueTraits

if TYPE_CHECKING:
    from skyferry.ports import EventQueue
    from skyferry.ports.opening import QueueContext

FORM = "nats://HOST/STREAM/CONSUMER"
VARIABLE = "NATS_CREDENTIALS"
PORT = 4222
TRAITS = QueueTraits(max_send_delay=0.0, depth="estimate", prioritized=False, deduplicates=False)


def parse_nats(url: str, *, allow_plain: bool) -> ServerAddress:
    """Parse `nats://[USER@]HOST[:PORT][,HOST…]/STREAM/CONSUMER?subject=SUBJECT`, or `tls://…`. Raises ValueError."""
    address = parse_server(url, PORT, FORM)
    require_names(address, 2, FORM)
    for name in address.path:
        if any(letter in name for letter in ".*>/\\ \t\r\n"):
            raise ValueError(f"{name!r} is no name at NATS, which has no dots, wildcards, slashes and spaces in it")
    subject = address.option("subject", "unset")
    if not subject or any(letter in subject for letter in "*> \t\r\n"):
        raise ValueError(f"option subject: {subject!r} is no subject to send to: it has neither wildcards nor spaces")
    if not url.startswith("tls://"):
        require_server_tls(address, "tls://", allowed=allow_plain)
    return address


def _complete(settings: QueueAddress, account: str) -> QueueAddress:
    address = parse_nats(settings.url, allow_plain=settings.allow_http)
    if isinstance(settings, DeadLetterSettings) and not address.option("subject"):
        raise ValueError(f"dead letters need a subject: {FORM}?subject=SUBJECT")
    return settings


def _open(context: QueueContext) -> EventQueue:
    from skyferry.queues.nats.connection import NatsConnection, NatsOptions
    from skyferry.queues.nats.queue import NatsQueue

    settings = context.where.settings
    address = parse_nats(settings.url, allow_plain=settings.allow_http)
    options = NatsOptions(address, settings.url.startswith("tls://"), settings.tls, settings.lease)
    return NatsQueue(context.name, NatsConnection(context.name, options, context.credentials), context.clock)


JETSTREAM = QueueScheme(
    FORM,
    _open,
    options=frozenset({"identity", "subject"}),
    settings=AT_A_SERVER,
    parts=3,
    cloud="server",
    secret_env=VARIABLE,
    extra="nats",
    needs=("nats",),
    traits=TRAITS,
    complete=_complete,
    sends=lambda settings: "subject=" in settings.url,
)
JETSTREAM_TLS = replace(JETSTREAM, form="tls://HOST/STREAM/CONSUMER")
