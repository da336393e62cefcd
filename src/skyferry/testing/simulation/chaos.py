"""Ports with the faults of real ones: they take time, fail before or after the effect, and corrupt reads."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from typing import Any

from skyferry.bodies import StreamedBody, collect
from skyferry.errors import ConnectionLost, LedgerError, QueueError, SkyferryError, StoreTimeout, Throttled
from skyferry.frozen import dataclass
from skyferry.ports import Clock, ObjectData
from skyferry.testing.simulation.loop import PROCESS

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
    land: float = 0.5  # rate of aborted changes that the server has received whole: they take effect later
    land_within: float = 15.0  # seconds
    outages: tuple[tuple[float, float], ...] = ()  # windows (loop seconds) in which every call of the destination fails


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

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._port, name)
        if not callable(inner) or name in ("list", "uploads", "list_uploads"):
            return inner

        async def call(*args: Any, **kwargs: Any) -> Any:
            if name == "write_stream":  # until the server has received the whole body, an aborted write changes nothing
                args = (args[0], await _receive(args[1]), *args[2:])
            try:
                await self._pass_time()
            except asyncio.CancelledError:
                if name in CHANGES and self._dice.random() < self._weather.land:
                    _land(partial(inner, *args, **kwargs), self._dice.random() * self._weather.land_within)
                raise
            fails = name not in self._calm and (self._dice.random() < self._weather.fail or self._out())
            if fails and (self._out() or self._dice.random() < 0.5):
                raise self._dice.choice(self._errors)()
            answer = await inner(*args, **kwargs)
            await self._pass_time()
            if fails:
                raise self._dice.choice(self._errors)()
            if isinstance(answer, ObjectData) and answer.data and self._dice.random() < self._weather.corrupt:
                answer = replace(answer, data=_flipped(answer.data, self._dice))
            return answer

        return call

    async def _pass_time(self) -> None:
        stall = self._dice.random() < self._weather.stall
        await self._clock.sleep(self._weather.stall_seconds if stall else self._dice.random() * self._weather.latency)

    def _out(self) -> bool:
        now = self._clock.monotonic()
        return any(start <= now < end for start, end in self._weather.outages)


def _land(change: Callable[[], Coroutine[Any, Any, object]], seconds: float) -> None:
    """Let a change take effect later. It is the server's now, so the death of its client does not matter."""
    context = copy_context()
    context.run(PROCESS.set, "")

    async def take_effect() -> None:
        with suppress(SkyferryError):  # its client has gone
            await change()

    loop = asyncio.get_running_loop()
    loop.call_later(seconds, lambda: loop.create_task(take_effect(), context=context), context=context)


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
