"""Group commit: the next batch is collected while one is in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Combines many single calls into few calls of `send`, which returns one result per item, in order."""

    def __init__(self, send: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]], limit: int, name: str) -> None:
        self._send, self._limit, self._name = send, limit, name
        self._waiting: list[tuple[Item, asyncio.Future[Result] | None]] = []
        self._task: asyncio.Task[None] | None = None

    def put(self, item: Item) -> asyncio.Future[Result]:
        """Return the future that gets the result for this item, or the error of its batch. Cancelling it leaves the item there."""
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._add(item, answer)
        return answer

    def post(self, item: Item) -> None:
        """Send an item whose result nothing waits for. `send` MUST NOT raise for it."""
        self._add(item, None)

    def _add(self, item: Item, answer: asyncio.Future[Result] | None) -> None:
        self._waiting.append((item, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=self._name)

    async def drained(self) -> None:
        """Return once nothing is in flight."""
        while self._task is not None:
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # let items that are ready now join
                batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
                await self._one(batch)
        finally:
            self._task = None

    async def _one(self, batch: list[tuple[Item, asyncio.Future[Result] | None]]) -> None:
        try:
            results = await self._send([item for item, _ in batch])
        except Exception as problem:  # noqa: BLE001 - raised again by every `put` of this batch
            for _, answer in batch:
                if answer is not None and not answer.done():
                    answer.set_exception(problem)
            return
        for (_, answer), result in zip(batch, results, strict=True):
            if answer is not None and not answer.done():
                answer.set_result(result)
