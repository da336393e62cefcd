"""What an exactly-once subscription says of each acknowledgement. A stand-in answers: the emulator never fails in part."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from google.api_core.exceptions import ServiceUnavailable
from google.pubsub_v1.types import PubsubMessage, ReceivedMessage, StreamingPullRequest
from google.rpc.error_details_pb2 import ErrorInfo  # type: ignore[import-untyped]  # it ships no types

from skyferry.clouds.credentials import fixed_credentials
from skyferry.errors import QueueError
from skyferry.ports import Message
from skyferry.queues.pubsub.client import PubSubOptions
from skyferry.queues.pubsub.queue import HEARTBEAT, TRIES, PubSubQueue
from skyferry.testing.clock import ManualClock

FOR_GOOD, FOR_THE_MOMENT = "PERMANENT_FAILURE_INVALID_ACK_ID", "TRANSIENT_FAILURE_UNORDERED_ACK_ID"


class Subscriber:
    """Takes what is acknowledged or moved, but for the ids that fail."""

    def __init__(self) -> None:
        self.failing: Mapping[str, str] = {}
        self.asked, self.taken = Counter[str](), Counter[str]()
        self.open = asyncio.Event()  # until it is set, streams stay open

    async def acknowledge(self, ack_ids: Sequence[str], **_: Any) -> None:
        self.asked.update(ack_ids)
        self.taken.update(i for i in ack_ids if i not in self.failing)
        if found := {i: self.failing[i] for i in ack_ids if i in self.failing}:
            raise ServiceUnavailable("some failed", details=[ErrorInfo(metadata=found)])  # type: ignore[no-untyped-call]  # it has no types

    async def streaming_pull(self, requests: AsyncIterator[StreamingPullRequest], **_: Any) -> None:
        self.asked["stream"] += 1
        self.requests = requests
        await self.open.wait()
        raise ServiceUnavailable("not now")  # type: ignore[no-untyped-call]  # it has no types


class Scene:
    """A queue that holds the messages a, b and c."""

    def __init__(self) -> None:
        self.clock, self.service = ManualClock(), Subscriber()
        options = PubSubOptions(endpoint="http://127.0.0.1:9", lease=60)
        self.queue = PubSubQueue("q", "projects/p/subscriptions/s", fixed_credentials(""), options, self.clock)
        self.queue._client.subscriber = SimpleNamespace(  # type: ignore[assignment]  # all that is asked of it
            acknowledge=self.service.acknowledge,
            modify_ack_deadline=self.service.acknowledge,
            streaming_pull=self.service.streaming_pull,
        )

    async def hold(self) -> list[Message]:
        sent = datetime.fromtimestamp(self.clock.time(), UTC)
        bodies = [(i, PubsubMessage(message_id=i, data=b"x", publish_time=sent)) for i in "abc"]
        await self.queue._arrived([ReceivedMessage(ack_id=i, message=body) for i, body in bodies])
        return self.queue._take(3)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    yield scene
    await scene.queue.close()


async def test_what_fails_for_the_moment_is_tried_again_alone(scene: Scene) -> None:
    """And told as a failure if it goes on: it was not acked, and comes again."""
    held, scene.service.failing = await scene.hold(), {"b": FOR_THE_MOMENT}
    with pytest.raises(QueueError):
        await scene.queue.ack(held)
    assert scene.service.asked == {"a": 1, "b": TRIES, "c": 1}
    assert set(scene.service.taken) == {"a", "c"}


async def test_what_fails_for_good_is_lost(scene: Scene) -> None:
    """It is somebody else's now."""
    held, scene.service.failing = await scene.hold(), {"b": FOR_GOOD}
    assert await scene.queue.extend(held) == [held[1]]
    assert scene.service.asked["b"] == 1


async def test_an_extension_that_fails_costs_no_other_its_lease(scene: Scene) -> None:
    """They are ours to ack when its own has ended."""
    held, scene.service.failing = await scene.hold(), {"b": FOR_THE_MOMENT}
    await scene.clock.advance(40)
    with pytest.raises(QueueError):
        await scene.queue.extend(held)
    await scene.clock.advance(40)
    scene.service.asked.clear()
    await scene.queue.ack(held)
    assert set(scene.service.asked) == {"a", "c"}


async def test_a_stream_that_breaks_between_receives_is_no_error(scene: Scene) -> None:
    """It would have been closed; the next receive opens another."""
    unheard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: unheard.append(context))
    scene.service.open.set()
    assert await scene.queue.receive(1, 0) == []
    stream = scene.queue._stream
    assert stream is not None
    await asyncio.wait({stream})
    del stream
    await scene.queue.close()
    gc.collect()
    assert unheard == []


async def test_a_stream_that_the_service_ends_after_a_while_is_opened_again(scene: Scene) -> None:
    """That is how each of them ends; one that ends at once is a failure."""
    assert await scene.queue.receive(1, 0) == []
    stream = scene.queue._stream
    receiving = asyncio.create_task(scene.queue.receive(1, 3600))
    await scene.clock.advance(1800)
    scene.service.open.set()
    assert stream is not None
    await asyncio.wait({stream})
    with pytest.raises(QueueError):
        await receiving
    assert scene.service.asked["stream"] == 2


@pytest.mark.parametrize("granted", [True, False])
async def test_whether_we_may_send_is_asked_of_the_topic(scene: Scene, granted: bool) -> None:
    """And nothing is published. The emulator has no permissions."""
    asked: list[Any] = []

    async def test_iam_permissions(request: Any, **_: Any) -> SimpleNamespace:
        asked.append(request)
        return SimpleNamespace(permissions=request["permissions"] if granted else [])

    scene.queue._options = replace(scene.queue._options, topic="projects/p/topics/dead")
    scene.queue._client.publisher = SimpleNamespace(test_iam_permissions=test_iam_permissions)  # type: ignore[assignment]  # as in Scene
    assert await scene.queue.sends() is granted
    assert asked == [{"resource": "projects/p/topics/dead", "permissions": ["pubsub.topics.publish"]}]


async def test_a_release_that_began_completes_despite_a_cancellation(scene: Scene) -> None:
    """A receive that comes meanwhile waits for it; cancelled, it neither breaks it off nor keeps the stream open for ever."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(ack_ids: Sequence[str], **_: Any) -> None:
        begun.set()
        await go_on.wait()
        scene.service.taken.update(ack_ids)

    scene.queue._client.subscriber.modify_ack_deadline = slow  # type: ignore[method-assign,assignment]  # as in Scene
    held = await scene.hold()
    scene.queue._buffer.extend(held)
    assert [m.id for m in await scene.queue.receive(1, 0)] == ["a"]
    await scene.clock.advance(PubSubOptions().linger)
    await begun.wait()
    receiving = asyncio.create_task(scene.queue.receive(1, 0))
    await asyncio.sleep(0)
    receiving.cancel()
    await asyncio.wait({receiving})
    go_on.set()
    assert await scene.queue.receive(1, 0) == []
    assert (receiving.cancelled(), set(scene.service.taken)) == (True, {"b", "c"})


async def test_a_cancelled_receive_lets_the_stream_end_all_the_same(scene: Scene) -> None:
    """Cancelled at once, while it ends the idling of before: nobody receives, so after a while the stream is closed."""
    assert await scene.queue.receive(1, 0) == []
    stream = scene.queue._stream
    assert stream is not None
    receiving = asyncio.create_task(scene.queue.receive(1, 3600))
    await asyncio.sleep(0)
    receiving.cancel()
    await asyncio.wait({receiving})
    scene.service.open.set()
    await scene.clock.advance(PubSubOptions().linger)
    await asyncio.wait({stream})
    await asyncio.sleep(0)
    assert scene.queue._stream is None


async def test_a_stream_says_every_half_minute_that_it_is_there(scene: Scene) -> None:
    """A NAT on the way forgets a connection on which nothing is said, and then no message ever comes again."""
    receiving = asyncio.create_task(scene.queue.receive(1, 3600))
    await scene.clock.advance(0)
    requests = scene.service.requests
    assert (await anext(requests)).subscription
    beat = asyncio.ensure_future(anext(requests))
    await scene.clock.advance(HEARTBEAT - 1)
    assert not beat.done()
    await scene.clock.advance(1)
    assert await beat == StreamingPullRequest()
    last = asyncio.ensure_future(anext(requests, None))
    scene.service.open.set()
    await scene.queue.close()
    assert await last is None, "the stream ends when it is closed"
    await asyncio.wait({receiving})
