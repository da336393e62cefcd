"""The clock of the real world."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """A `Clock` on the system's own."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
