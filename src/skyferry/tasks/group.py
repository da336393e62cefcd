"""A group of tasks that leaves no request to cancel behind."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextvars import Context
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")


class TaskGroup(asyncio.TaskGroup):
    """A group of asyncio whose failures do not change the `cancelling()` of the task that waits for it.

    In Python 3.11 and 3.12, a task that fails while the group is being left cancels the waiting task, and nothing takes this
    request back: `__aexit__` calls `uncancel` only before it waits. `Lease` then takes its own request for that of another.
    So this group waits as a part of its body.
    """

    def __init__(self) -> None:
        super().__init__()
        self._left: set[asyncio.Task[Any]] = set()

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        task: asyncio.Task[T] = super().create_task(coro, name=name, context=context)
        self._left.add(task)
        task.add_done_callback(self._left.discard)
        return task

    async def __aexit__(
        self, et: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            while exc is None and self._left:
                await asyncio.wait(self._left)
        except asyncio.CancelledError as cancelled:
            et, exc, tb = type(cancelled), cancelled, cancelled.__traceback__
        await super().__aexit__(et, exc, tb)
