"""What SQS promises beyond the queue's contract."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest
from tests.queues.forged import FORGED
from tests.queues.sqs.test_conformance import ANY, created

from skyferry.clouds.credentials import S3Credentials, fixed_credentials
from skyferry.clouds.http import HttpResponse
from skyferry.errors import QueueError
from skyferry.ports import Message, Outgoing
from skyferry.ports.inspection import Redrive
from skyferry.queues.sqs.client import SqsClient, SqsOptions, code, refused
from skyferry.queues.sqs.queue import REST, SqsQueue
from skyferry.queues.sqs.scheme import HOLD
from skyferry.testing.clock import ManualClock
from skyferry.testing.servers import LocalStack
from skyferry.testing.servers.proxy import Fault, FaultProxy

SENT = {name: text for name, text in FORGED.items() if text}  # the service refuses an empty attribute


async def test_many_are_received_and_acked_by_one_call(localstack_server: LocalStack) -> None:
    """More than a batch of ten: several batches at the same time, and nothing stays."""
    queue = await (await created(localstack_server, lease=30)).open()
    ids = await queue.send([Outgoing(b"x")] * 55)
    seen: list[Message] = []
    while len(seen) < 55:
        seen += await queue.receive(100, 5)
    assert sorted(m.id for m in seen) == sorted(ids)
    assert await queue.extend(seen) == []
    await queue.ack(seen)
    assert (await queue.depth()).ready == (await queue.depth()).leased == 0
    await queue.close()


@pytest.mark.parametrize("text", SENT.values(), ids=SENT.keys())
async def test_a_message_with_forged_attributes_is_received(localstack_server: LocalStack, text: str) -> None:
    """One that could not be received would stop each worker, and come again."""
    queue = await (await created(localstack_server, lease=30)).open()
    attributes = {REST: {"DataType": "String", "StringValue": text}}
    assert isinstance(queue, SqsQueue)
    await queue._client.call("SendMessage", MessageBody="x", MessageAttributes=attributes)
    assert [(message.body, message.attributes) for message in await queue.receive(5, 5)] == [(b"x", ())]
    await queue.close()


@pytest.mark.parametrize("character", ['"', "é", "x"])
async def test_ten_of_the_largest_messages_are_received(character: str, localstack_server: LocalStack) -> None:
    """Of 1 MiB each, in one answer, in which a quote takes two bytes and an é six."""
    queue = await (await created(localstack_server, lease=30)).open()
    body = (character * (2**20 // len(character.encode()))).encode()
    await queue.send([Outgoing(body)] * 10)
    seen: list[Message] = []
    while len(seen) < 10:
        batch = await queue.receive(10, 5)
        assert batch
        seen += batch
    assert {m.body for m in seen} == {body}
    await queue.ack(seen)
    await queue.close()


async def test_a_fifo_queue_keeps_a_repeated_message_once(localstack_server: LocalStack) -> None:
    """The dedup id is the service's own, and the group is given by an attribute."""
    harness = await created(localstack_server, lease=30, fifo=True)
    queue = await harness.open()
    message = Outgoing(b"x", (("MessageGroupId", "g"),), dedup_id="once")
    await queue.send([message])
    await queue.send([message])
    assert [m.body for m in await queue.receive(10, 2)] == [b"x"]
    await queue.close()


async def test_the_redrive_policy_is_reported(localstack_server: LocalStack) -> None:
    """None without one."""
    harness = await created(localstack_server, lease=30)
    queue = SqsQueue("sqs", harness.name, ANY, harness.options)
    assert (await queue.inspect()).redrive is None
    dead = await created(localstack_server)
    arn = f"arn:aws:sqs:{localstack_server.region}:000000000000:{dead.name}"
    policy = f'{{"deadLetterTargetArn":"{arn}","maxReceiveCount":"5"}}'
    await queue._client.call("SetQueueAttributes", Attributes={"RedrivePolicy": policy})
    assert (await queue.inspect()).redrive == Redrive(5, arn)
    await queue.close()


async def test_after_twelve_hours_a_message_is_handed_over(localstack_server: LocalStack) -> None:
    """It is told as lost, and not touched any more."""
    harness, clock = await created(localstack_server), ManualClock()
    queue = SqsQueue("sqs", harness.name, ANY, replace(harness.options, lease=int(HOLD)), clock)
    await queue.send([Outgoing(b"x")])
    held = await queue.receive(1, 0)
    assert await queue.extend(held) == []
    await clock.advance(HOLD)
    assert await queue.extend(held) == held
    await queue.close()


async def test_a_message_deleted_meanwhile_ends_no_other_lease(localstack_server: LocalStack) -> None:
    """An ack may overtake the heartbeat: LocalStack then blames itself."""
    queue = await (await created(localstack_server, lease=30)).open()
    await queue.send([Outgoing(b"x")] * 3)
    held = await queue.receive(3, 5)
    assert isinstance(queue, SqsQueue)
    await queue._client.call("DeleteMessage", ReceiptHandle=held[1].receipt)
    assert await queue.extend(held) == [held[1]]
    await queue.close()


async def test_a_request_that_fails_ends_the_leases_of_its_own_messages_only(localstack_server: LocalStack) -> None:
    """One of two heartbeats fails: when the first leases would have ended, ten of twenty messages are still ours."""
    harness, clock = await created(localstack_server), ManualClock()
    async with FaultProxy(localstack_server.url) as proxy:
        options = replace(harness.options, endpoint=proxy.url, lease=300)
        queue = SqsQueue("sqs", harness.name, ANY, options, clock)
        await queue.send([Outgoing(b"x")] * 20)
        held: list[Message] = []
        while len(held) < 20:
            held += await queue.receive(20, 1)
        await clock.advance(200)
        proxy.plan(Fault(status=500))
        with pytest.raises(QueueError):
            await queue.extend(held)
        await clock.advance(200)
        assert len(await queue.extend(held)) == 10
        await queue.close()


async def test_a_request_that_fails_takes_no_received_message_with_it(localstack_server: LocalStack) -> None:
    """The second of two: what the first has brought would only come again when its lease ends, nearer to the dead-letter queue."""
    harness = await created(localstack_server, lease=300)
    async with FaultProxy(localstack_server.url) as proxy:
        queue = SqsQueue("sqs", harness.name, ANY, replace(harness.options, endpoint=proxy.url))
        await queue.send([Outgoing(b"x")] * 20)
        proxy.plan(Fault(), Fault(status=500))
        assert len(await queue.receive(20, 5)) == 10
        assert not proxy.pending
        assert {m.attempt for m in await queue.receive(20, 5)} == {1}
        await queue.close()


@pytest.mark.parametrize("value", ["nonsense", "1", "[1]", '[["a"]]', '{"a": 1}'])
async def test_a_foreign_attribute_with_the_same_name_is_ignored(value: str, localstack_server: LocalStack) -> None:
    """Anybody may send one; the message is received all the same."""
    harness = await created(localstack_server)
    queue = SqsQueue("sqs", harness.name, ANY, harness.options)
    attributes = {REST: {"DataType": "String", "StringValue": value}}
    assert isinstance(queue, SqsQueue)
    await queue._client.call("SendMessage", MessageBody="x", MessageAttributes=attributes)
    assert [m.body for m in await queue.receive(10, 2)] == [b"x"]
    await queue.close()


async def test_attributes_without_room_or_a_legal_name_come_as_they_went(localstack_server: LocalStack) -> None:
    """Also what XML cannot carry."""
    queue = await (await created(localstack_server)).open()
    attributes = tuple(sorted({"aws.x": "y", "strange": "\uffff", **{f"n{i}": str(i) for i in range(12)}}.items()))
    await queue.send([Outgoing(b"x", attributes)])
    assert [m.attributes for m in await queue.receive(10, 2)] == [attributes]
    await queue.close()


async def test_a_missing_queue_is_an_error_with_a_hint(localstack_server: LocalStack) -> None:
    """Not an empty queue."""
    options = SqsOptions(localstack_server.url, localstack_server.region)
    queue = SqsQueue("sqs", f"no-{secrets.token_hex(4)}", ANY, options)
    with pytest.raises(QueueError, match="QueueDoesNotExist") as caught:
        await queue.receive(1, 0)
    assert caught.value.hint
    await queue.close()


async def test_an_unreachable_service_is_a_queue_error() -> None:
    """As the worker expects it."""
    queue = SqsQueue(
        "sqs", "q", fixed_credentials(S3Credentials("a", "b")), SqsOptions("http://127.0.0.1:9", "eu-west-1")
    )
    with pytest.raises(QueueError):
        await queue.receive(1, 0)
    await queue.close()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"__type":"com.amazonaws.sqs#QueueDoesNotExist"}', "QueueDoesNotExist"),
        (b'{"__type":"com.amazon.coral.service#AccessDeniedException"}', "AccessDenied"),
        (b'{"__type":"com.amazon.coral.service#ExpiredTokenException"}', "ExpiredToken"),
        (b'{"__type":"RequestThrottled"}', "Throttling"),
    ],
)
def test_every_refusal_has_a_hint(body: bytes, told: str) -> None:
    """Whatever the dialect."""
    answer = HttpResponse(400, {}, body)
    assert code(answer) == told
    assert refused(answer, "q").hint


def test_a_wrong_signature_does_not_bring_the_token_into_an_error() -> None:
    """The service tells what it would have signed, header by header."""
    said = (
        "The request signature does not match.\\n\\nThe Canonical String should have been\\nx-amz-security-token:secret"
    )
    error = refused(HttpResponse(403, {}, f'{{"__type":"SignatureDoesNotMatch","message":"{said}"}}'.encode()), "q")
    assert str(error).startswith("q: SignatureDoesNotMatch: The request signature does not match. (")
    assert "secret" not in error.message


def test_a_queue_is_at_amazons_endpoint_of_its_region() -> None:
    for region, root in (
        ("eu-west-3", "https://sqs.eu-west-3.amazonaws.com/"),
        ("cn-north-1", "https://sqs.cn-north-1.amazonaws.com.cn/"),
        ("eusc-de-east-1", "https://sqs.eusc-de-east-1.amazonaws.eu/"),
    ):
        assert (
            SqsClient("q", "name", fixed_credentials(S3Credentials("k", "s")), SqsOptions(region=region)).root == root
        )
