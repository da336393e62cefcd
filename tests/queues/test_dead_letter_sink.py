"""Dead letters that go to a queue of a cloud come back as the messages that they were."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.queues.azure.test_conformance import AzureHarness
from tests.queues.pubsub.test_conformance import PubSubHarness
from tests.queues.sqs.test_conformance import SqsHarness, created

from skyferry.model import Failure
from skyferry.ports import DeadLetter, DeadLetterRef, EventQueue, letter_attributes
from skyferry.queues.dead_letter_sink import QueueDeadLetters
from skyferry.testing.servers import Azurite, LocalStack
from skyferry.testing.servers.pubsub import PubSubEmulator

LETTER = DeadLetter(
    id="0123456789abcdef0123456789abcdef",
    at=1_700_000_000.1234567,
    queue="events",
    reason="permission_denied",
    message="we may not",
    hint="",
    body=b"\xff raw",
    attributes=(("eventType", "OBJECT_FINALIZE"),),
    route="there",
    attempts=tuple(Failure(n, 1.7e9, "throttled", "x" * 300, True) for n in range(20)),
)


@pytest.fixture(params=["sqs", "pubsub", "azure"])
async def queue(request: pytest.FixtureRequest) -> AsyncIterator[EventQueue]:
    harness: SqsHarness | PubSubHarness | AzureHarness
    if request.param == "sqs":
        server = request.getfixturevalue("localstack_server")
        assert isinstance(server, LocalStack)
        harness = await created(server)
    elif request.param == "azure":
        azurite = request.getfixturevalue("azurite_server")
        assert isinstance(azurite, Azurite)
        harness = AzureHarness(azurite)
        await (await harness.open())._ask("PUT", "", {})
    else:
        emulator = request.getfixturevalue("pubsub_server")
        assert isinstance(emulator, PubSubEmulator)
        harness = PubSubHarness(emulator)
        await harness.create()
    yield await harness.open()
    for opened in harness.opened:
        await opened.close()


async def test_a_dead_letter_keeps_its_message_and_its_story(queue: EventQueue) -> None:
    """Body and attributes are as they were; id, reason and the last attempts are beside them."""
    await QueueDeadLetters(queue).publish([LETTER])
    (message,) = await queue.receive(10, 5)
    told = dict(message.attributes)
    assert message.body == LETTER.body
    assert told["eventType"] == "OBJECT_FINALIZE"
    assert (told["skyferry-dead-letter"], told["skyferry-reason"]) == (LETTER.id, "permission_denied")
    assert '"attempt":19' in told["skyferry-story"]
    assert letter_attributes.parse_reference(message.attributes) == DeadLetterRef(LETTER.id, LETTER.at)
    assert letter_attributes.strip_own(message.attributes) == LETTER.attributes
