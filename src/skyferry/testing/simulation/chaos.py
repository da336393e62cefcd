"""Ports with the faults of real ones: they take time, fail before or after the effect, and corrupt reads."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from skyferry.errors import ConnectionLost, LedgerError, QueueError, SkyferryError, StoreTimeout, Throttled
from skyferry.frozen import dataclass
from skyferry.ports import Clock, ObjectData


@dataclass(frozen=True, slots=True)
class Weather:
    """The severity of the faults. Rates are probabilities per call."""

    latency: float = 0.02  # seconds at most, before and after the effect
    stall: float = 0.002  # rate of calls that take longer than any lease
    stall_seconds: float = 90.0
    fail: float = 0.05  # rate of calls that fail, half of them after the effect
    corrupt: float = 0.02  # rate of reads with a flipped byte
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
            await self._pass_time()
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
