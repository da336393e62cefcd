"""The system's clock."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """The `Clock` port on the system's clock."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
