"""Calls to Pub/Sub over gRPC with our own credential, and what its errors mean. Each is sent once: the engine tries again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

import grpc.aio  # type: ignore[import-untyped]  # it ships no types
from google.api_core.exceptions import GoogleAPICallError, RetryError, Unauthenticated
from google.pubsub_v1.services.publisher import PublisherAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber import SubscriberAsyncClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport

from skyferry.clouds.credentials import TokenProvider
from skyferry.errors import QueueError, StoreError

T = TypeVar("T")
Metadata = tuple[tuple[str, str], ...]
SERVICE = "https://pubsub.googleapis.com"
PROMPT = 30.0  # seconds in which the other end answers, if it is there
LARGEST = 64 * 2**20  # bytes of one answer; a message has up to 10 MB, and gRPC would take 4
HINTS = {
    "NOT_FOUND": "create it, or correct its project and name",
    "PERMISSION_DENIED": "`skyferry policy` prints what our identity needs there",
    "UNAUTHENTICATED": "the token was refused, and so was a fresh one",
    "RESOURCE_EXHAUSTED": "the service asks for fewer requests, or a quota is used up",
    "FAILED_PRECONDITION": "see that the subscription is a pull one and not detached",
}


@dataclass(frozen=True, slots=True)
class PubSubOptions:
    """How one subscription is reached."""

    topic: str = ""  # projects/P/topics/T, to send to; "" = nothing is sent
    endpoint: str = ""  # URL; "" = Google's. http:// is spoken to without TLS, as the emulator wants it
    lease: float = 60.0  # seconds of ack deadline (10 to 600), renewed while we hold a message
    outstanding: int = 1000  # messages that the service may have sent us unacknowledged
    outstanding_bytes: int = 64 * 2**20
    linger: float = 5.0  # seconds that the stream stays open when nobody receives; then what it brought is given back
    timeout: float = 30.0  # seconds for one call
    keepalive: float = 330.0  # seconds of silence after which the other end is asked; servers bear no less than 300


class PubSubClient:
    """One channel."""

    def __init__(self, name: str, credentials: TokenProvider, options: PubSubOptions) -> None:
        self._name, self._credentials, self._timeout = name, credentials, options.timeout
        url, more = urlsplit(options.endpoint or SERVICE), _channel(options)
        if url.scheme == "http":
            self._channel = grpc.aio.insecure_channel(url.netloc, more)
        else:
            self._channel = grpc.aio.secure_channel(url.netloc, grpc.ssl_channel_credentials(), more)
        self.subscriber = SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=self._channel))
        self.publisher = PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=self._channel))

    async def call(self, function: Callable[[Metadata, float], Awaitable[T]]) -> T:
        """What `function(metadata, timeout)` gives; with a fresh token where the service refuses the first."""
        try:
            token = await self._credentials()
            try:
                return await function(_metadata(token), self._timeout)
            except Unauthenticated:
                return await function(_metadata(await self._credentials(stale=token)), self._timeout)
        except StoreError as error:
            raise QueueError(error.message, where=self._name, hint=error.hint) from error
        except (GoogleAPICallError, RetryError) as error:
            raise refused(error, self._name) from error

    async def close(self) -> None:
        """Close the channel. Idempotent."""
        await self._channel.close()


def refused(error: Exception, where: str) -> QueueError:
    """What an error of the service means."""
    status = getattr(getattr(error, "grpc_status_code", None), "name", "")
    return QueueError(str(error), where=where, hint=HINTS.get(status, ""))


def _channel(options: PubSubOptions) -> list[tuple[str, int]]:
    """A stream waits for messages in silence: where a NAT has forgotten the connection, nobody else would notice, ever.

    What is sent and not acknowledged within PROMPT ends the connection too (gRPC sets TCP_USER_TIMEOUT so): of a stream's
    heartbeats, for example.
    """
    prompt = round(min(PROMPT, options.keepalive) * 1000)
    return [
        ("grpc.max_receive_message_length", LARGEST),
        ("grpc.keepalive_time_ms", round(options.keepalive * 1000)),
        ("grpc.keepalive_timeout_ms", prompt),
        ("grpc.http2.ping_timeout_ms", prompt),
        ("grpc.http2.max_pings_without_data", 0),  # as many as it takes
    ]


def _metadata(token: str) -> Metadata:
    return (("authorization", f"Bearer {token}"),) if token else ()
