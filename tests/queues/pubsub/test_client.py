"""What a stream of Pub/Sub survives on its way. A stand-in serves: the emulator sends nothing large, and no network fails here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime

import grpc.aio  # type: ignore[import-untyped]  # it ships no types
import pytest
from google.pubsub_v1.types import PubsubMessage, ReceivedMessage, StreamingPullRequest, StreamingPullResponse

from skyferry.clouds.credentials import fixed_credentials
from skyferry.config.settings import QueueSettings, Settings
from skyferry.errors import QueueError
from skyferry.queues.pubsub.client import PubSubOptions
from skyferry.queues.pubsub.queue import PubSubQueue
from skyferry.wiring import Opener

LARGE = 9 * 2**20  # bytes; a message may have up to 10 MB


class Service(grpc.GenericRpcHandler):  # type: ignore[misc]  # it ships no types
    """Sends one large message, and then nothing more; takes every other call."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        if details.method.endswith("/StreamingPull"):
            codec = StreamingPullRequest.deserialize, StreamingPullResponse.serialize
            return grpc.stream_stream_rpc_method_handler(self._pull, *codec)
        return grpc.unary_unary_rpc_method_handler(self._take)

    async def _pull(self, requests: AsyncIterator[StreamingPullRequest], _: object) -> AsyncIterator[object]:
        message = PubsubMessage(message_id="1", data=bytes(LARGE), publish_time=datetime.now(UTC))
        yield StreamingPullResponse(received_messages=[ReceivedMessage(ack_id="a", message=message)])
        async for _request in requests:
            pass

    async def _take(self, request: bytes, _: object) -> bytes:
        return b""


class Relay:
    """Carries bytes to a port, until it forgets all connections without a word, as a NAT does."""

    def __init__(self, port: int) -> None:
        self._port, self.heard, self.carried = port, asyncio.Event(), set[asyncio.Task[None]]()
        self.heard.set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", self._port)
        ways = (self._copy(reader, there[1]), self._copy(there[0], writer))
        self.carried |= {asyncio.create_task(way) for way in ways}

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(2**16):
                await self.heard.wait()
                writer.write(data)
        writer.close()


@pytest.fixture
async def port() -> AsyncIterator[int]:
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    server.add_generic_rpc_handlers((Service(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(None)


def queue_at(port: int, keepalive: float = PubSubOptions().keepalive, scheme: str = "http") -> PubSubQueue:
    options = PubSubOptions(endpoint=f"{scheme}://127.0.0.1:{port}", keepalive=keepalive, linger=3600)
    return PubSubQueue("q", "projects/p/subscriptions/s", fixed_credentials(""), options)


async def test_a_message_of_ten_megabytes_is_received(port: int) -> None:
    """gRPC would take four, and a larger one would end each stream that brings it."""
    queue = queue_at(port)
    (message,) = await queue.receive(1, 30)
    assert len(message.body) == LARGE
    await queue.close()


async def test_a_connection_that_is_forgotten_on_the_way_is_noticed(port: int) -> None:
    """Else a queue without messages would stay without messages for ever, and nobody would be told."""
    relay = Relay(port)
    server = await asyncio.start_server(relay.carry, "127.0.0.1", 0)
    queue = queue_at(server.sockets[0].getsockname()[1], keepalive=0.5)
    assert await queue.receive(1, 30)
    relay.heard.clear()
    with pytest.raises(QueueError):
        await queue.receive(1, 60)
    relay.heard.set()
    await queue.close()
    server.close()
    await asyncio.wait(relay.carried)


async def test_whether_there_is_tls_is_for_the_endpoint_to_say(port: int) -> None:
    """And not for its host: an emulator in a container is on no loopback, and what is there may have TLS."""
    queue = queue_at(port, scheme="https")
    with pytest.raises(QueueError):
        await queue.receive(1, 30)
    await queue.close()


async def test_an_endpoint_comes_as_it_was_configured() -> None:
    """Without TLS where that is said."""
    settings = QueueSettings(
        name="q", url="pubsub://p/s?identity=anonymous", endpoint="http://emulator:8085", allow_http=True
    )
    opener = Opener(Settings(queues=(settings,)))
    queue = opener.queue()
    assert isinstance(queue, PubSubQueue)
    assert queue._options.endpoint == "http://emulator:8085"
    await queue.close()
    await opener.close()
