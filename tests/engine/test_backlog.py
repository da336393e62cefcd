"""The bytes of a backlog, as its events declare them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.engine.lab import Lab

from skyferry.engine.backlog import MEMORY, MeanSize, sum_sizes
from skyferry.engine.consume.in_flight import InFlight, LeasedMessage
from skyferry.model import Change, Transfer
from skyferry.ports import Depth, Message
from skyferry.queues.memory import MemoryQueue
from skyferry.status import QueueBytes, merge_backlogs

LAB = Lab()


def transfer(size: int | None, change: Change = Change.CREATED) -> Transfer:
    [found] = LAB.routes.match(replace(LAB.event("key"), size=size))
    return replace(found, change=change)


def leased(number: int, waits: int = 0) -> LeasedMessage:
    queue = MemoryQueue("events", LAB.clock, 30.0, LAB.queue_state)
    return LeasedMessage(queue, Message(str(number), b"", "", 1, 0.0, 0.0), waits=waits)


def test_a_message_asks_for_all_its_copies() -> None:
    """Two routes copy an object twice; a delete copies nothing; one unknown size makes the sum unknown."""
    assert sum_sizes([]) == 0
    assert sum_sizes([transfer(3), transfer(3)]) == 6
    assert sum_sizes([transfer(3), transfer(100, Change.DELETED)]) == 3
    assert sum_sizes([transfer(3), transfer(None)]) is None


def test_the_mean_follows_what_was_received_last() -> None:
    assert MeanSize().value is None
    mean = MeanSize()
    for size in (10, 20, 30):
        mean.add(size)
    assert mean.value == 20
    for _ in range(10 * MEMORY):
        mean.add(1000)
    assert mean.value == pytest.approx(1000, rel=0.01)


def test_messages_in_flight_count_until_they_are_settled() -> None:
    """Also while they wait, and each once; one without a size counts as the mean."""
    flight = InFlight(10)
    one, two, three = leased(1), leased(2), leased(3)
    for message, size in ((one, 10), (two, 30), (three, None)):
        flight.messages[message] = None
        flight.note_size(message, [transfer(size)])
    assert flight.backlog() == {"events": QueueBytes(10 + 30 + 20, 20.0)}
    one.waits += 1
    flight.note_size(one, [transfer(10)])
    assert flight.backlog() == {"events": QueueBytes(60, 20.0)}
    flight.messages.clear()
    assert flight.backlog() == {"events": QueueBytes(0, 20.0)}


@pytest.mark.parametrize(
    ("mean", "depth", "expected"),
    [
        (20.0, Depth(5, 7, 2, 0.0), 140.0),
        (20.0, Depth(5, 7, -1, 0.0), 100.0),  # NATS does not tell delayed messages from leased ones
        (20.0, Depth(-1, -1, -1, -1.0), None),  # Pub/Sub
        (None, Depth(5, 0, 0, 0.0), None),
        (None, Depth(0, 0, 0, 0.0), 0.0),
    ],
)
def test_the_bytes_of_waiting_messages_are_an_estimate(
    mean: float | None, depth: Depth, expected: float | None
) -> None:
    assert QueueBytes(0, mean).estimate_waiting(depth) == expected


@pytest.mark.parametrize(("received", "expected"), [(0, 100.0), (60, 40.0), (120, 0.0)])
def test_messages_that_are_received_do_not_wait_as_well(received: int, expected: float) -> None:
    """Also at Azure and R2, which count leased messages as ready."""
    assert QueueBytes(received, 20.0).estimate_waiting(Depth(5, -1, -1, -1.0)) == expected
    assert QueueBytes(received, 20.0).estimate_waiting(Depth(5, 0, -1, -1.0)) == 100.0


def test_processes_add_up() -> None:
    one, two = {"a": QueueBytes(5, 10.0)}, {"a": QueueBytes(7, 20.0), "b": QueueBytes(0, None)}
    assert merge_backlogs([one, two]) == {"a": QueueBytes(12, 15.0), "b": QueueBytes(0, None)}
