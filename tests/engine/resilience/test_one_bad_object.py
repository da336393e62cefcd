"""An outage is judged by how many different objects fail: what fails alone delays nothing else, and ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.engine.lab import Lab

from skyferry.engine.consume.worker import WorkerPolicy
from skyferry.errors import (
    ConnectionLost,
    IdentityRefused,
    QuotaExceeded,
    SkyferryError,
    StoreTimeout,
    StoreUnavailable,
    Throttled,
)

TEN_MINUTES = 600.0
MANY = WorkerPolicy(drain=0.0)


class Picky:
    """A destination that refuses some operations on some keys."""

    def __init__(self, inner: Any, error: SkyferryError, refuses: Callable[[str, str], bool]) -> None:
        self._inner, self._error, self.refuses = inner, error, refuses

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._inner, name)
        if name not in ("head", "write"):
            return inner

        async def call(key: str, *args: Any, **kwargs: Any) -> Any:
            if self.refuses(name, key):
                raise type(self._error)(self._error.message, retry_after=self._error.retry_after)
            return await inner(key, *args, **kwargs)

        return call


def refuse_writes(*keys: str) -> Callable[[str, str], bool]:
    return lambda operation, key: operation == "write" and key in keys


async def announce(lab: Lab, *keys: str) -> None:
    for key in keys:
        await lab.put(key)
    await lab.send(*keys)


@pytest.mark.parametrize(
    ("error", "operations", "hot_first"),
    [
        (Throttled(), ("write",), True),
        (Throttled(retry_after=1.0), ("write",), False),
        (Throttled(retry_after=1.0), ("head", "write"), True),
        (Throttled(), ("head", "write"), False),
    ],
)
async def test_a_hot_prefix_does_not_stop_the_store(
    error: Throttled, operations: tuple[str, ...], hot_first: bool
) -> None:
    """200 objects below one prefix are throttled for ten minutes. 2,400 others arrive within a minute, and then the 200."""
    lab = Lab()
    hot, cold = [f"hot/{n}" for n in range(200)], [f"cold/{n}" for n in range(2400)]
    store = lab.destination = Picky(lab.destination, error, lambda name, key: name in operations and key in hot)
    keys = hot + cold if hot_first else [key for n in range(200) for key in (*cold[n * 12 : n * 12 + 12], hot[n])]
    await announce(lab, *keys)
    async with lab.running(lab.worker(policy=MANY)):
        await lab.until(lambda: len(lab.bucket.objects) == len(cold), step=0.5, steps=120)
        await lab.clock.advance(TEN_MINUTES)
        assert lab.count("transfer.dead") == 0
        store.refuses = lambda name, key: False
        await lab.until(lambda: len(lab.bucket.objects) == len(keys), step=1, steps=180)


@pytest.mark.parametrize("error", [IdentityRefused(), StoreUnavailable(), StoreTimeout(), ConnectionLost()])
@pytest.mark.parametrize("others", [0, 1, 30])
async def test_one_object_that_always_fails_is_a_dead_letter(error: SkyferryError, others: int) -> None:
    """The store answers, and takes the others. It delays none of them."""
    lab = Lab()
    lab.destination = Picky(lab.destination, error, refuse_writes("bad"))
    good = [f"good{n}" for n in range(others)]
    await announce(lab, "bad", *good)
    async with lab.running(lab.worker()):
        await lab.until(lambda: len(lab.bucket.objects) == others, steps=500)
        await lab.until(lambda: lab.count("transfer.dead") == 1, step=1, steps=600)
        await announce(lab, "later")
        await lab.until(lambda: len(lab.bucket.objects) == others + 1, steps=500)


@pytest.mark.parametrize("error", [StoreUnavailable(), QuotaExceeded()])
async def test_a_store_that_fails_many_objects_makes_no_dead_letter(error: SkyferryError) -> None:
    """Its looks are answered all the time: that shows nothing about its writes."""
    lab = Lab()
    store = lab.destination = Picky(lab.destination, error, lambda name, key: name == "write")
    keys = [f"k{n}" for n in range(6)]
    await announce(lab, *keys)
    async with lab.running(lab.worker()):
        await lab.clock.advance(4 * TEN_MINUTES)
        assert lab.count("transfer.dead") == 0
        store.refuses = lambda name, key: False
        await lab.until(lambda: len(lab.bucket.objects) == len(keys), step=1, steps=180)


async def test_a_new_object_gets_through_a_breaker_that_only_bad_objects_probe() -> None:
    """Everything in hand always fails, so a new message is received for the next probe."""
    lab = Lab()
    bad = [f"bad{n}" for n in range(6)]
    lab.destination = Picky(lab.destination, StoreUnavailable(), refuse_writes(*bad))
    await announce(lab, *bad)
    async with lab.running(lab.worker()):
        await lab.clock.advance(TEN_MINUTES)
        await announce(lab, "good")
        await lab.until(lambda: len(lab.bucket.objects) == 1, step=1, steps=75)
