"""Requests keep to their rate."""

from __future__ import annotations

import asyncio

from skyferry.engine.resilience.rate_limit import RateLimiter
from skyferry.testing.clock import ManualClock


async def test_a_rate_is_held_over_time() -> None:
    """A burst of one second, then so many a second; a large request passes and is paid off after."""
    clock = ManualClock()
    limiter = RateLimiter(10.0, clock)
    done: list[float] = []

    async def ask(units: float) -> None:
        await limiter.take(units)
        done.append(clock.monotonic())

    await clock.advance(100)
    tasks = [asyncio.create_task(ask(5.0)) for _ in range(8)]
    await clock.advance(10)
    assert [round(at - 100, 3) for at in done] == [0, 0, 0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert limiter.waiting == 0
    await asyncio.gather(*tasks)
