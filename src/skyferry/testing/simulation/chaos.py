"""Ports with the faults of real ones: they take time, fail before or after the effect, and corrupt reads."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextvars import ContextVar, copy_context
from dataclasses import replace
from functools import partial
from typing import Any

from skyferry.bodies import StreamedBody, collect
from skyferry.errors import ConnectionLost, LedgerError, QueueError, SkyferryError, StoreTimeout, Throttled
from skyferry.frozen import dataclass
from skyferry.ports import Clock, ObjectData
from skyferry.testing.simulation.loop import PROCESS, SimulatedLoop

LATE: ContextVar[bool] = ContextVar("LATE", default=False)  # of a change: its worker stood still while it was under way
CHANGES = frozenset(
    {"write", "write_stream", "write_part", "finish_upload", "set_attributes", "delete", "start_upload", "abort_upload"}
)


@dataclass(frozen=True, slots=True)
class Weather:
    """The severity of the faults. Rates are probabilities per call."""

    latency: float = 0.02  # seconds at most, before and after the effect
    stall: float = 0.002  # rate of calls that take longer than any lease
    stall_seconds: float = 90.0
    fail: float = 0.05  # rate of calls that fail, half of them after the effect
    corrupt: float = 0.02  # rate of reads with a flipped byte
    land: float = 0.5  # rate of changes that the server has received whole when they are aborted, or when their worker
    # stops or dies: they take effect later
    land_within: float = 15.0  # seconds
    outages: tuple[tuple[float, float], ...] = ()  # windows (loop seconds) in which every call of the destination fails


@dataclass(eq=False, slots=True)
class _Request:
    """A change that is under way to its server."""

    change: Callable[[], Coroutine[Any, Any, Any]]
    began: float  # loop seconds
    landing: asyncio.Task[Any] | None = None  # set once the server carries it out, whatever becomes of its client


class Chaos:
    """A wrapper that injects faults into one port of one process."""

    def __init__(
        self,
        port: Any,
        weather: Weather,
        dice: random.Random,
        clock: Clock,
        errors: Sequence[Callable[[], SkyferryError]],
        calm: frozenset[str] = frozenset(),
    ) -> None:
        """Exclude the methods in `calm` from failures; they still take time."""
        self._port, self._weather, self._dice, self._clock = port, weather, dice, clock
        self._errors, self._calm = errors, calm
        self._requests: dict[_Request, None] = {}  # in the order of their begin

    def disconnect(self) -> None:
        """Let the servers carry out, within a while, what they have received of a process that stops or dies."""
        for request in self._requests:
            if request.landing is None and not self._out() and self._dice.random() < self._weather.land:
                request.landing = self._land(request.change, late=False)

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._port, name)
        if not callable(inner) or name in ("list", "uploads", "list_uploads"):
            return inner

        async def call(*args: Any, **kwargs: Any) -> Any:
            if name == "write_stream":  # until the server has received the whole body, an aborted write changes nothing
                args = (args[0], await _receive(args[1]), *args[2:])
            request = _Request(partial(inner, *args, **kwargs), asyncio.get_running_loop().time())
            await self._send(request, is_change=name in CHANGES)
            fails = name not in self._calm and (self._dice.random() < self._weather.fail or self._out())
            if request.landing is None and fails and (self._out() or self._dice.random() < 0.5):
                raise self._dice.choice(self._errors)()
            answer = await (asyncio.shield(request.landing) if request.landing else request.change())
            await self._pass_time()
            if fails:
                raise self._dice.choice(self._errors)()
            if isinstance(answer, ObjectData) and answer.data and self._dice.random() < self._weather.corrupt:
                answer = replace(answer, data=_flipped(answer.data, self._dice))
            return answer

        return call

    async def _send(self, request: _Request, *, is_change: bool) -> None:
        """Let the time pass until the server has the request. An aborted change may take effect nevertheless."""
        if is_change:
            self._requests[request] = None
        try:
            await self._pass_time()
        except asyncio.CancelledError:
            if is_change and request.landing is None and self._dice.random() < self._weather.land:
                self._land(request.change, late=_stood_still(request.began))
            raise
        finally:
            self._requests.pop(request, None)

    def _land(self, change: Callable[[], Coroutine[Any, Any, Any]], *, late: bool) -> asyncio.Task[Any]:
        """Let a change take effect later. It is the server's now, so the death of its client does not matter."""
        seconds, context = self._dice.random() * self._weather.land_within, copy_context()
        context.run(PROCESS.set, "")
        context.run(LATE.set, late)

        async def take_effect() -> Any:
            await asyncio.sleep(seconds)
            return await change()

        return asyncio.get_running_loop().create_task(take_effect(), context=context)

    async def _pass_time(self) -> None:
        stall = self._dice.random() < self._weather.stall
        await self._clock.sleep(self._weather.stall_seconds if stall else self._dice.random() * self._weather.latency)

    def _out(self) -> bool:
        now = self._clock.monotonic()
        return any(start <= now < end for start, end in self._weather.outages)


def _stood_still(since: float) -> bool:
    """Return True if this process was stopped since then (loop seconds)."""
    loop = asyncio.get_running_loop()
    return isinstance(loop, SimulatedLoop) and loop.thawed(PROCESS.get()) > since


async def _receive(body: StreamedBody) -> StreamedBody:
    data = await collect(body)

    async def repeat() -> AsyncIterator[bytes]:
        yield data

    return StreamedBody(body.size, repeat)


def _flipped(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]


STORE_ERRORS: tuple[Callable[[], SkyferryError], ...] = (
    lambda: ConnectionLost(where="simulated"),
    lambda: Throttled(where="simulated", retry_after=0.5),
    lambda: StoreTimeout(where="simulated"),
)
LEDGER_ERRORS: tuple[Callable[[], SkyferryError], ...] = (lambda: LedgerError("simulated"),)
QUEUE_ERRORS: tuple[Callable[[], SkyferryError], ...] = (lambda: QueueError("simulated"),)
