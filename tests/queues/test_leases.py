"""Messages held for longer than their lease, by the whole service; what came how often is what the server says."""

from __future__ import annotations

from pathlib import Path

from bench._delivery_counts import CountedQueue, pubsub, sqs
from bench.leases import LEASES, Load

from skyferry.testing.servers import LocalStack
from skyferry.testing.servers.pubsub import PubSubEmulator


async def test_no_message_of_sqs_expires_while_it_is_held(tmp_path: Path, localstack_server: LocalStack) -> None:
    """Copies of 1 to 10 s at a visibility of 5."""
    async with sqs(localstack_server.url, LEASES["sqs"]) as queue:
        await _all_is_done_once(tmp_path, queue, LEASES["sqs"], longest=10.0)


async def test_no_message_of_pubsub_expires_while_it_is_held(tmp_path: Path, pubsub_server: PubSubEmulator) -> None:
    """Copies of 1 to 20 s at an ack deadline of 10."""
    async with pubsub(pubsub_server, LEASES["pubsub"]) as queue:
        await _all_is_done_once(tmp_path, queue, LEASES["pubsub"], longest=20.0)


async def _all_is_done_once(folder: Path, queue: CountedQueue, lease: int, longest: float) -> None:
    """Each event sent 1.5 times: nothing expires, each object is done once, each message is acked."""
    seen = await Load(folder, queue, lease, 80).run(longest, transfers=100, limit=120)
    assert (seen.sent, seen.expired) == (120, 0)
    assert (seen.done, seen.arrived) == (80, 80)
    assert (seen.left, seen.dead) == (0, 0)
