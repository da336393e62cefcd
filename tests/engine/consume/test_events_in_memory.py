"""A queue in memory passes events on as they are. A dead letter keeps the event in a form that can be sent again."""

from __future__ import annotations

from tests.engine.lab import Lab

from skyferry.errors import Unsupported
from skyferry.events.native import parse_event
from skyferry.ports import Filter, ObjectData, Outgoing
from skyferry.queues.memory import MemoryQueue
from skyferry.stores.memory import MemoryStore


async def send(lab: Lab, key: str) -> str:
    event = lab.event(key)
    await MemoryQueue("events", lab.clock, lab.lease, lab.queue_state).send([Outgoing(b"", event=event)])
    return event.event_id


async def test_an_event_without_a_body_is_copied() -> None:
    lab = Lab()
    await lab.put("k")
    async with lab.running(lab.worker()):
        await send(lab, "k")
        await lab.until(lambda: lab.count("transfer.done") == 1)
    assert lab.bucket.objects["k"][1] == b"data"


async def test_its_dead_letter_has_a_body_with_the_same_event() -> None:
    class Refusing(MemoryStore):
        async def read(self, key: str, start: int, length: int, *, version: str = "") -> ObjectData:
            raise Unsupported("refused")

    lab = Lab()
    lab.source, ledger = Refusing("source", lab.clock, lab.source.bucket), lab.ledger()
    async with lab.running(lab.worker(ledger)):
        event_id = await send(lab, "k")
        await lab.until(lambda: lab.count("transfer.dead") == 1)
    [letter] = (await ledger.list_dead_letters(Filter())).items
    event = parse_event(letter.body)
    assert (event.event_id, event.source.key) == (event_id, "k")
