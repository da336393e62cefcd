"""Listen in the background for messages that other processes send."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable

from skyferry.ports import Clock

FIRST, SLOWEST = 1.0, 30.0  # seconds between attempts after a failure


class Listener(ABC):
    """Calls `notify` for new messages, and after each failure, for some may have been missed."""

    failures: tuple[type[Exception], ...]  # the calls of the queue report the outage

    def __init__(self, name: str, notify: Callable[[], None], clock: Clock) -> None:
        """`name` is that of the task."""
        self._name, self._notify, self._clock = name, notify, clock
        self._task: asyncio.Task[None] | None = None
        self.listening = False

    def start(self) -> None:
        """Listen from now on. Idempotent."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"listen {self._name}")

    async def close(self) -> None:
        """Stop. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        pause = FIRST
        while True:
            try:
                await self._listen()
                pause = FIRST
            except self.failures:
                self.listening = False
                await self._clock.sleep(pause)
                pause = min(2 * pause, SLOWEST)

    @abstractmethod
    async def _listen(self) -> None:
        """Listen for a while, and set `listening` once that works. Raises one of `failures`."""
