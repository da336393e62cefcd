"""A store that refuses the rate for ever is asked ever less often, however many keys wait for it: its breaker paces them all."""

from __future__ import annotations

from typing import Any

import pytest
from tests.engine.lab import Lab

from skyferry.errors import SkyferryError, Throttled

HOUR = 3600.0


class Throttling:
    """A destination that refuses these operations, and knows when it was asked."""

    def __init__(self, inner: Any, lab: Lab, error: SkyferryError, operations: tuple[str, ...]) -> None:
        self._inner, self._lab, self._error, self.refused = inner, lab, error, operations
        self.asked: list[float] = []  # the times

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._inner, name)
        if name not in ("head", "write"):
            return inner

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.asked.append(self._lab.clock.time())
            if name in self.refused:
                raise self._error
            return await inner(*args, **kwargs)

        return call


@pytest.mark.parametrize("operations", [("head", "write"), ("write",)])
@pytest.mark.parametrize("error", [Throttled(), Throttled(retry_after=1.0)], ids=["bare", "retry-after"])
@pytest.mark.parametrize("keys", [1, 20, 200])
async def test_all_keys_together_ask_once_for_each_longest_pause(
    keys: int, error: SkyferryError, operations: tuple[str, ...]
) -> None:
    """The first minute tries a few times; from the tenth on there is one probe a minute, of two requests at most."""
    lab = Lab()
    store = lab.destination = Throttling(lab.destination, lab, error, operations)
    names = [f"k{number}" for number in range(keys)]
    for name in names:
        await lab.put(name)
    await lab.send(*names)
    begin = lab.clock.time()
    async with lab.running(lab.worker()):
        await lab.clock.advance(HOUR)
    by_ten_minutes = [sum(begin + n * 600 <= at < begin + (n + 1) * 600 for at in store.asked) for n in range(6)]
    assert by_ten_minutes[0] <= 25
    assert all(0 < asked <= 20 for asked in by_ten_minutes[1:]), by_ten_minutes
    assert lab.count("transfer.dead") == 0


async def test_they_are_copied_when_the_store_takes_them_again() -> None:
    lab = Lab()
    store = lab.destination = Throttling(lab.destination, lab, Throttled(), ("write",))
    names = [f"k{number}" for number in range(20)]
    for name in names:
        await lab.put(name)
    await lab.send(*names)
    async with lab.running(lab.worker()):
        await lab.clock.advance(HOUR)
        store.refused = ()
        await lab.until(lambda: len(lab.bucket.objects) == len(names), step=1, steps=180)
