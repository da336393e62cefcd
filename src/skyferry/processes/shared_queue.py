"""A queue in the memory of the parent, for its children: they call it through their channels.

A call is a frame with a number, a method of `EventQueue` and its arguments; the answer has the same number, and the result or
the error. Receipts take the place of messages in calls, so that no message goes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from skyferry.errors import QueueError, SkyferryError
from skyferry.model import QueueTraits
from skyferry.ports import Depth, EventQueue, Message, Outgoing

Call = tuple[int, str, tuple[Any, ...]]  # number, method, arguments
Answer = tuple[int, Any, SkyferryError | None]  # number, result, error


class QueueClient:
    """The child's side: an `EventQueue`. Its leases end at once with this process, in whatever way that ends."""

    def __init__(self, name: str, lease: float, send: Callable[[Call], None]) -> None:
        """`send` sends a call, and does not wait. `take_answer` MUST get its answer."""
        self.name, self.lease, self.traits = name, lease, QueueTraits()
        self._send = send
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._count = 0
        self._closed = False

    async def receive(self, limit: int, wait: float) -> list[Message]:
        """See `EventQueue`."""
        messages: list[Message] = await self._call("receive", limit, wait)
        return messages

    async def extend(self, messages: Sequence[Message], seconds: float = 0.0) -> list[Message]:
        """See `EventQueue`."""
        lost = await self._call("extend", _list_receipts(messages), seconds)
        return [message for message in messages if message.receipt in lost]

    async def ack(self, messages: Sequence[Message]) -> None:
        """See `EventQueue`."""
        await self._call("ack", _list_receipts(messages))

    async def release(self, messages: Sequence[Message], delay: float) -> None:
        """See `EventQueue`."""
        await self._call("release", _list_receipts(messages), delay)

    async def send(self, messages: Sequence[Outgoing]) -> list[str]:
        """See `EventQueue`."""
        ids: list[str] = await self._call("send", messages)
        return ids

    async def depth(self) -> Depth:
        """See `EventQueue`."""
        depth: Depth = await self._call("depth")
        return depth

    async def close(self) -> None:
        """See `EventQueue`."""
        if not self._closed:
            self._closed = True
            self._send((0, "close", ()))

    def take_answer(self, answer: Answer) -> None:
        """Give the answer to its caller, unless that was cancelled."""
        number, result, error = answer
        call = self._calls.pop(number, None)
        if call is None or call.done():
            return
        if error is None:
            call.set_result(result)
        else:
            call.set_exception(error)

    def fail(self) -> None:
        """Fail all calls, because the parent has ended."""
        self._closed = True
        for number in list(self._calls):
            self.take_answer((number, None, self._closed_error()))

    async def _call(self, method: str, *args: Any) -> Any:
        if self._closed:
            raise self._closed_error()
        self._count += 1
        self._calls[self._count] = answer = asyncio.get_running_loop().create_future()
        number = self._count
        self._send((number, method, args))
        try:
            return await answer
        except asyncio.CancelledError:
            if self._calls.pop(number, None) is not None:
                self._send((number, "cancel", ()))
            raise

    def _closed_error(self) -> QueueError:
        return QueueError("it is closed", where=self.name)


class QueueServer:
    """The parent's side: it makes the calls of one child on its client of the queue."""

    def __init__(self, queue: EventQueue, answer: Callable[[Answer], None]) -> None:
        """Close `queue`, a client of this child alone, at the end. `answer` sends an answer, and does not wait."""
        self._queue, self._answer = queue, answer
        self._leased: dict[str, Message] = {}  # by receipt
        self._receives: dict[int, asyncio.Task[None]] = {}  # by the number of the call

    async def take_call(self, call: Call) -> None:
        """Make a call, and send its answer. A receive waits in the background, all others are made in their order."""
        number, method, args = call
        if method == "close":
            await self._queue.close()
        elif method == "cancel":
            if (receive := self._receives.get(number)) is not None:
                receive.cancel()
        elif method == "receive":
            name = f"receive {self._queue.name}"
            self._receives[number] = task = asyncio.create_task(self._make(number, self._receive, *args), name=name)
            task.add_done_callback(lambda _: self._receives.pop(number, None))
        else:
            await self._make(number, getattr(self, f"_{method}"), *args)

    async def close(self) -> None:
        """End the leases of the child. Idempotent."""
        await self._queue.close()
        receives = list(self._receives.values())
        for receive in receives:
            receive.cancel()
        await asyncio.gather(*receives, return_exceptions=True)

    async def _make(self, number: int, function: Callable[..., Any], *args: Any) -> None:
        try:
            answer: Answer = (number, await function(*args), None)
        except SkyferryError as error:
            answer = (number, None, error)
        self._answer(answer)

    async def _receive(self, limit: int, wait: float) -> list[Message]:
        messages = await self._queue.receive(limit, wait)
        self._leased.update({message.receipt: message for message in messages})
        return messages

    async def _extend(self, receipts: Sequence[str], seconds: float) -> set[str]:
        lost = {message.receipt for message in await self._queue.extend(self._find(receipts), seconds)}
        lost.update(receipt for receipt in receipts if receipt not in self._leased)
        for receipt in lost:
            self._leased.pop(receipt, None)
        return lost

    async def _ack(self, receipts: Sequence[str]) -> None:
        await self._queue.ack(self._take(receipts))

    async def _release(self, receipts: Sequence[str], delay: float) -> None:
        await self._queue.release(self._take(receipts), delay)

    async def _send(self, messages: Sequence[Outgoing]) -> list[str]:
        return await self._queue.send(messages)

    async def _depth(self) -> Depth:
        return await self._queue.depth()

    def _find(self, receipts: Sequence[str]) -> list[Message]:
        return [self._leased[receipt] for receipt in receipts if receipt in self._leased]

    def _take(self, receipts: Sequence[str]) -> list[Message]:
        """Return the messages, which the child has no more."""
        found = self._find(receipts)
        for message in found:
            del self._leased[message.receipt]
        return found


def _list_receipts(messages: Sequence[Message]) -> list[str]:
    return [message.receipt for message in messages]
