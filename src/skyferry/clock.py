"""The system's clock."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from skyferry.tasks.either import wait_for_either

if TYPE_CHECKING:
    from skyferry.ports import Clock


class SystemClock:
    """The `Clock` port on the system's clock."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


async def sleep_until_set(clock: Clock, seconds: float, event: asyncio.Event) -> None:
    """Sleep for `seconds` of the clock, or until the event is set."""
    await wait_for_either(clock.sleep(seconds), event.wait())
