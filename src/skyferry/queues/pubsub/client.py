"""A client of Pub/Sub over gRPC, and the translation of its errors. Each request is sent once; the engine retries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import urlsplit

import grpc.aio  # type: ignore[import-untyped]  # it ships no types
from google.api_core.exceptions import GoogleAPICallError, RetryError, Unauthenticated
from google.pubsub_v1.services.publisher import PublisherAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber import SubscriberAsyncClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport

from skyferry.clouds.credentials import Expiry, TokenProvider, call_authorized
from skyferry.errors import QueueError, StoreError
from skyferry.frozen import dataclass

T = TypeVar("T")
Metadata = tuple[tuple[str, str], ...]
SERVICE = "https://pubsub.googleapis.com"
PROMPT = 30.0  # seconds in which a live peer answers a ping
LARGEST = 64 * 2**20  # bytes of one answer; a message has up to 10 MB, and the default of gRPC is 4 MB
HINTS = {
    "NOT_FOUND": "create it, or correct its project and name",
    "PERMISSION_DENIED": "grant the permissions that `skyferry policy` prints",
    "UNAUTHENTICATED": "the token was rejected, and so was a new one: check the identity",
    "RESOURCE_EXHAUSTED": "the service throttles requests, or a quota is exhausted",
    "FAILED_PRECONDITION": "use a pull subscription that is not detached",
}


@dataclass(frozen=True, slots=True)
class PubSubOptions:
    """Options of one subscription."""

    topic: str = ""  # projects/P/topics/T, to send to; "" = none
    endpoint: str = ""  # URL; "" = Google's. http:// = without TLS, for the emulator
    lease: float = 60.0  # seconds of ack deadline (10 to 600), renewed while a message is leased
    outstanding: int = 1000  # unacknowledged messages that the service may have sent
    outstanding_bytes: int = 64 * 2**20
    linger: float = 5.0  # seconds that the stream stays open without a receive; then its messages are released
    timeout: float = 30.0  # seconds for one call
    keepalive: float = 330.0  # seconds of silence before a ping; servers reject less than 300


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
        """Return the result of `function(metadata, timeout)`. If the service rejects the token, retry once with a new one."""

        async def once(token: str) -> T | Unauthenticated:
            try:
                return await function(_metadata(token), self._timeout)
            except Unauthenticated as expired:
                return expired

        try:
            answer = await call_authorized(self._credentials, once, _find_expiry)
            if isinstance(answer, Unauthenticated):
                raise answer
            return answer
        except StoreError as error:
            raise QueueError(error.message, where=self._name, hint=error.hint) from error
        except (GoogleAPICallError, RetryError) as error:
            raise refused(error, self._name) from error

    async def close(self) -> None:
        """Close the channel. Idempotent."""
        await self._channel.close()


def _find_expiry(answer: object) -> Expiry:
    return Expiry.CERTAIN if isinstance(answer, Unauthenticated) else Expiry.NONE


def refused(error: Exception, where: str) -> QueueError:
    """Translate an error of the service."""
    status = getattr(getattr(error, "grpc_status_code", None), "name", "")
    return QueueError(str(error), where=where, hint=HINTS.get(status, ""))


def _channel(options: PubSubOptions) -> list[tuple[str, int]]:
    """Return the options of the channel: pings detect a connection that a NAT has dropped while a stream waits in silence.

    Data not acknowledged within PROMPT, such as a heartbeat, ends the connection too (gRPC sets TCP_USER_TIMEOUT so).
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
