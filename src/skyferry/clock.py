"""The system's clock."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skyferry.ports import Clock


class SystemClock:
    """The `Clock` port on the system's clock."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


async def sleep_until_set(clock: Clock, seconds: float, event: asyncio.Event) -> None:
    """Sleep for `seconds` of the clock, or until the event is set."""
    sleeping = asyncio.create_task(clock.sleep(seconds), name="sleeping")
    waiting = asyncio.create_task(event.wait(), name="waiting for the end of the sleep")
    try:
        await asyncio.wait({sleeping, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeping.cancel()
        waiting.cancel()
