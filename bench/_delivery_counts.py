"""Queues of SQS and Pub/Sub behind a proxy that reads each message's delivery count from the servers' own answers."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import boto3  # type: ignore[import-untyped]  # no stubs are published with it
import grpc.aio  # type: ignore[import-untyped]  # as boto3
from google.pubsub_v1.types import (
    AcknowledgeRequest,
    ModifyAckDeadlineRequest,
    PubsubMessage,
    StreamingPullResponse,
)

from skyferry.clouds.credentials import fixed_credentials
from skyferry.queues.pubsub.client import PubSubClient, PubSubOptions
from skyferry.testing.servers.proxy import Exchange, FaultProxy
from skyferry.testing.servers.pubsub import PubSubEmulator


@dataclass(slots=True)
class Counts:
    """Deliveries, returns and acknowledgements. A receipt is one delivery of one message."""

    messages: dict[str, str] = field(default_factory=dict)  # receipt -> message
    counted: dict[str, int] = field(default_factory=dict)  # message -> deliveries, according to the server
    returned: set[str] = field(default_factory=set)  # receipts that were returned on purpose
    acked: set[str] = field(default_factory=set)  # messages

    def add_delivery(self, message: str, receipt: str, count: int) -> None:
        """Count one delivery by the server."""
        self.messages[receipt] = message
        self.counted[message] = max(count, self.counted.get(message, 0))

    def ack(self, receipts: Sequence[str]) -> None:
        """Record the acknowledged receipts."""
        self.acked |= {self.messages[receipt] for receipt in receipts}

    @property
    def deliveries(self) -> int:
        """The deliveries that the server counts or that were observed, whichever are more."""
        return max(sum(self.counted.values()), len(self.messages))

    @property
    def expired(self) -> int:
        """Deliveries whose message came again although it was not returned."""
        return self.deliveries - len(self.counted) - len(self.returned)


class CountedQueue(Protocol):
    """A queue that is filled before the measurement."""

    url: str  # for Skyferry, through the proxy
    counts: Counts

    async def send(self, bodies: Sequence[str]) -> None:
        """Send the messages."""


class SqsCounted:
    """A queue on LocalStack, whose answers have each message's delivery count (ApproximateReceiveCount)."""

    def __init__(self, endpoint: str, visibility: int) -> None:
        keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
        self._client = boto3.client("sqs", endpoint_url=endpoint, **keys)
        self._visibility, self.name, self.counts = visibility, f"held-{uuid.uuid4().hex[:8]}", Counts()
        attributes = {"VisibilityTimeout": str(visibility)}
        self._url = self._client.create_queue(QueueName=self.name, Attributes=attributes)["QueueUrl"]
        self.url = ""

    async def send(self, bodies: Sequence[str]) -> None:
        """See `CountedQueue`."""
        await asyncio.to_thread(self._send, bodies)

    def _send(self, bodies: Sequence[str]) -> None:
        for start in range(0, len(bodies), 10):
            entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies[start : start + 10])]
            self._client.send_message_batch(QueueUrl=self._url, Entries=entries)

    def observe_exchange(self, exchange: Exchange, request: bytes, response: bytes) -> None:
        """Count one exchange, unless it failed."""
        if exchange.status != 200:
            return
        asked, answer = json.loads(request), json.loads(response or b"{}")
        for message in answer.get("Messages", []):
            count = int(message["Attributes"]["ApproximateReceiveCount"])
            self.counts.add_delivery(message["MessageId"], message["ReceiptHandle"], count)
        entries: list[dict[str, Any]] = asked.get("Entries", [])
        done = {each["Id"] for each in answer.get("Successful", [])}
        gone = [each for each in entries if each["Id"] in done]
        short = [each["ReceiptHandle"] for each in gone if each.get("VisibilityTimeout", 99) < self._visibility]
        self.counts.returned |= set(short)
        self.counts.ack([each["ReceiptHandle"] for each in gone if "VisibilityTimeout" not in each])


@asynccontextmanager
async def sqs(endpoint: str, visibility: int) -> AsyncIterator[CountedQueue]:
    """Create a queue with this visibility timeout, in seconds."""
    queue = SqsCounted(endpoint, visibility)
    async with FaultProxy(endpoint, queue.observe_exchange) as proxy:
        queue.url = f"sqs://{queue.name}?region=us-east-1&endpoint={proxy.url}&identity=static"
        yield queue


class PubSubCounted(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc ships no types
    """A subscription on the emulator. A dead-letter policy adds each message's delivery count (delivery_attempt)."""

    def __init__(self, server: PubSubEmulator, deadline: int) -> None:
        self._options, self._deadline, self.counts = PubSubOptions(endpoint=server.url), deadline, Counts()
        self._channel = grpc.aio.insecure_channel(server.endpoint)
        name = f"held-{uuid.uuid4().hex[:8]}"
        self.topic = f"projects/{server.project}/topics/{name}"
        self.subscription = f"projects/{server.project}/subscriptions/{name}"
        self.url = ""

    async def create(self) -> None:
        """Create topic and subscription."""
        wire = PubSubClient("admin", fixed_credentials(""), self._options)
        await wire.publisher.create_topic(name=self.topic)
        dead = {"dead_letter_topic": self.topic, "max_delivery_attempts": 100}
        request = {"name": self.subscription, "topic": self.topic, "ack_deadline_seconds": self._deadline}
        await wire.subscriber.create_subscription(request={**request, "dead_letter_policy": dead})
        await wire.close()

    async def send(self, bodies: Sequence[str]) -> None:
        """See `CountedQueue`."""
        wire = PubSubClient("sender", fixed_credentials(""), self._options)
        for start in range(0, len(bodies), 500):
            messages = [PubsubMessage(data=body.encode()) for body in bodies[start : start + 500]]
            await wire.publisher.publish(topic=self.topic, messages=messages)
        await wire.close()

    def service(self, call: Any) -> Any:
        """Return the handler of a method, which forwards and observes its messages."""
        method: str = call.method

        async def single(request: bytes, context: Any) -> Any:
            try:
                answer = await self._channel.unary_unary(method)(request)
            except grpc.aio.AioRpcError as error:
                return await context.abort(error.code(), error.details())
            self._observe_request(method, request)
            return answer

        async def stream(requests: Any, context: Any) -> AsyncIterator[bytes]:
            try:
                async for answer in self._channel.stream_stream(method)(requests):
                    self._observe_deliveries(answer)
                    yield answer
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details())

        if method.endswith("/StreamingPull"):
            return grpc.stream_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(single)

    def _observe_deliveries(self, answer: bytes) -> None:
        for each in StreamingPullResponse.deserialize(answer).received_messages:
            self.counts.add_delivery(each.message.message_id, each.ack_id, each.delivery_attempt)

    def _observe_request(self, method: str, request: bytes) -> None:
        if method.endswith("/Acknowledge"):
            self.counts.ack(AcknowledgeRequest.deserialize(request).ack_ids)
        elif method.endswith("/ModifyAckDeadline"):
            asked = ModifyAckDeadlineRequest.deserialize(request)
            if asked.ack_deadline_seconds < self._deadline:
                self.counts.returned |= set(asked.ack_ids)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()


@asynccontextmanager
async def pubsub(server: PubSubEmulator, deadline: int) -> AsyncIterator[CountedQueue]:
    """Create a subscription with this acknowledgement deadline, in seconds."""
    queue, proxy = PubSubCounted(server, deadline), grpc.aio.server()
    await queue.create()
    proxy.add_generic_rpc_handlers((queue,))
    port = proxy.add_insecure_port("127.0.0.1:0")
    await proxy.start()
    try:
        queue.url = f"pubsub://{queue.subscription.replace('projects/', '').replace('/subscriptions', '')}"
        queue.url += f"?endpoint=http://127.0.0.1:{port}&identity=anonymous"
        yield queue
    finally:
        await proxy.stop(1)
        await queue.close()
