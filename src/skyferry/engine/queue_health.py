"""A queue that remembers how its provider answered, so that a question about it costs no request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from skyferry.errors import QueueError
from skyferry.ports import Clock, Depth, EventQueue, Message, Outgoing
from skyferry.ports.decorators import QueueDecorator
from skyferry.status import HealthCheck

OVERDUE = 10.0  # seconds that a receive may take longer than it was asked to wait
FRESH = 60.0  # seconds after a receive in which a depth that cannot be asked does not count as an outage
RECENT = 60.0  # seconds that a failed send is held against a queue
NOT_YET = "it has not answered yet"


@dataclass(slots=True)
class Heard:
    """Answers of one queue. Times are monotonic seconds."""

    since: float  # the start
    answered: float | None = None  # the end of the last receive that succeeded
    due: float | None = None  # the receive under way ought to have ended by then
    failure: str = ""  # of the last receive; "" = it succeeded
    depth: Depth | None = None  # None = not known now
    sampled: float | None = None  # when the depth was asked last, whatever came of it
    unsampled: str = ""  # why the depth is not known
    unsent: str = ""  # of the last send; "" = it succeeded
    sent: float = 0.0  # the end of the last send


def judge(name: str, heard: Heard, now: float) -> HealthCheck:
    """The condition of the queue, from what is remembered. Pure."""
    fresh = heard.answered is not None and now - heard.answered < FRESH
    if heard.failure:
        return HealthCheck("queue", name, "down", heard.failure)
    if heard.due is not None and now > heard.due + OVERDUE:
        return HealthCheck("queue", name, "down", f"a receive is overdue by {now - heard.due:.0f} s")
    if heard.unsampled:
        return HealthCheck("queue", name, "degraded" if fresh else "down", heard.unsampled)
    if heard.unsent and now - heard.sent < RECENT:
        return HealthCheck("queue", name, "degraded", f"a send failed: {heard.unsent}")
    if heard.answered is None and (heard.depth is None or heard.depth.ready < 0):
        return HealthCheck("queue", name, "down", NOT_YET)
    return HealthCheck("queue", name, "ok")


class HeardQueue(QueueDecorator):
    """An `EventQueue` like the one inside, which remembers in `heard` how it answers."""

    def __init__(self, queue: EventQueue, clock: Clock) -> None:
        super().__init__(queue)
        self._clock = clock
        self.heard = Heard(clock.monotonic())

    @property
    def check(self) -> HealthCheck:
        """Its condition now."""
        return judge(self.name, self.heard, self._clock.monotonic())

    async def receive(self, limit: int, wait: float) -> list[Message]:
        heard = self.heard
        heard.due = self._clock.monotonic() + wait
        try:
            messages = await self.inner.receive(limit, wait)
        except QueueError as error:
            heard.failure = str(error)
            raise
        finally:
            heard.due = None
        heard.failure, heard.answered = "", self._clock.monotonic()
        return messages

    async def sample(self, patience: float, *, hurried: bool = False) -> Depth | None:
        """Ask for the depth anew, and remember it; None if there is no answer within `patience` seconds.

        Where it is `hurried`, a missing answer means nothing: what was known stays so.
        """
        heard = self.heard
        try:
            async with asyncio.timeout(patience):
                heard.depth, heard.unsampled = await self.inner.depth(), ""
        except TimeoutError:
            if not hurried:
                heard.depth, heard.unsampled = None, f"no answer within {patience:g} s"
        except QueueError as error:
            heard.depth, heard.unsampled = None, str(error)
        heard.sampled = self._clock.monotonic()
        return heard.depth

    async def send(self, messages: Sequence[Outgoing]) -> list[str]:
        try:
            ids = await self.inner.send(messages)
        except QueueError as error:
            self.heard.unsent, self.heard.sent = str(error), self._clock.monotonic()
            raise
        self.heard.unsent = ""
        return ids
