"""A worker that is alone is never fenced: what it has in hand of a key that it gives back is claimed again, all of it."""

from __future__ import annotations

import pytest
from tests.engine.lab import Gated, Lab

from skyferry.model import Position


def at(place: int) -> Position:
    return Position("gcs-generation", f"{place:020d}.{1:020d}")


@pytest.mark.parametrize("first", ["copied", "superseded"])
async def test_what_comes_while_a_key_is_given_back_is_not_fenced(first: str) -> None:
    """Three events come between the last look at the queue of the key and the settlement that frees the key."""
    lab = Lab()
    ledger = Gated(lab.ledger())
    await lab.put("k")
    async with lab.running(lab.worker(ledger)):
        if first == "superseded":
            ledger.gate.set()
            await lab.send("k", position=at(9))
            await lab.until(lambda: lab.count("transfer.done") == 1)
            ledger.gate.clear()
        await lab.send("k", position=at(1))
        await lab.until(lambda: ledger.waiting == 1)
        for place in (11, 12, 13):
            await lab.put("k", b"%d" % place)
            await lab.send("k", position=at(place))
            await lab.clock.advance(0.1)
        ledger.gate.set()
        await lab.clock.advance(5)
        assert await lab.left() == 0
    assert lab.count("transfer.lease_lost") == lab.count("message.released") == 0
