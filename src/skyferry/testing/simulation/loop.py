"""An asyncio event loop on virtual time, with processes that can crash or freeze between any two steps.

Sleeps take no real time: if no callback is ready, the clock jumps to the next timer. Each task belongs to the process that
`PROCESS` named at its creation. A crashed process never runs again, as after `kill -9`: no `finally`, no cleanup.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from inspect import CORO_CREATED, getcoroutinestate
from types import CoroutineType
from typing import Any, TypeVarTuple

Ts = TypeVarTuple("Ts")
PROCESS: ContextVar[str] = ContextVar("PROCESS", default="")
TICK = 1e-6  # seconds: shorter sleeps may be lost in the rounding of times
EPOCH = 1_700_000_000.0  # the simulated wall clock at the start


class Deadlock(Exception):
    """All tasks wait and no timer is set, so the simulation cannot continue."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """A loop that runs simultaneously ready callbacks in an order drawn from `random`."""

    def __init__(self, random: random.Random) -> None:
        super().__init__()
        self._random = random
        self._now = 0.0
        self._selector = self  # the base class waits in its selector; this one advances the clock instead
        self.crashed: set[str] = set()
        self._frozen: dict[str, float] = {}
        self._suspended: dict[str, float] = {}  # seconds that the monotonic clock of a process has missed
        self.set_exception_handler(lambda _, context: None)  # tasks of crashed processes end unfinished

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        """Wait, in virtual time."""
        if timeout is None:
            raise Deadlock
        self._now += timeout
        return []

    def freeze(self, process: str, seconds: float) -> None:
        """Stop a process, as SIGSTOP does; it continues after `seconds`. Its timers are due then."""
        self._frozen[process] = self._now + seconds

    def suspend(self, process: str, seconds: float) -> None:
        """Stop a process together with its monotonic clock, as a virtual machine is suspended. Its timers are late, too."""
        self.freeze(process, seconds)
        self._suspended[process] = self.missed(process) + seconds

    def missed(self, process: str) -> float:
        """Return the seconds that the monotonic clock of a process has missed."""
        return self._suspended.get(process, 0.0)

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return super().call_soon(self._run_alive, context, callback, args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        process = PROCESS.get() if context is None else context.get(PROCESS, "")
        missed = self.missed(process)
        return super().call_at(when, self._run_due, context, callback, args, process, missed, context=context)

    def _run_due(
        self, context: Context | None, callback: Callable[..., Any], args: tuple[Any, ...], process: str, missed: float
    ) -> None:
        """Run the callback of a timer, but not before the time is over that the process has missed since it set it."""
        if (owed := self.missed(process) - missed) > 0:
            super().call_at(
                self._now + owed, self._run_due, context, callback, args, process, self.missed(process), context=context
            )
        else:
            self._run_alive(context, callback, args)

    def _run_alive(self, context: Context | None, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        process = PROCESS.get()  # the handle's context is the current one here
        if process in self.crashed:
            _discard(callback)
            return
        if (thaw := self._frozen.get(process, 0.0)) > self._now:
            super().call_at(thaw, self._run_alive, context, callback, args, context=context)
            return
        callback(*args)

    def _run_once(self) -> None:
        """Run one iteration of the base class with the ready callbacks shuffled."""
        ready = self._ready  # type: ignore[attr-defined]  # no public way to reorder them
        if len(ready) > 1:
            shuffled = list(ready)
            self._random.shuffle(shuffled)
            ready.clear()
            ready.extend(shuffled)
        super()._run_once()  # type: ignore[misc]  # ditto

    def _process_events(self, event_list: list[Any]) -> None:
        """Do nothing: there is no I/O."""

    def _write_to_self(self) -> None:
        """Do nothing: no other thread wakes a simulation."""

    def spawn(self, process: str, coroutine: Any, name: str) -> asyncio.Task[Any]:
        """Start a task of a process."""
        context = copy_context()
        context.run(PROCESS.set, process)
        return self.create_task(coroutine, name=name, context=context)


def _discard(callback: Callable[..., Any]) -> None:
    """Close the coroutine of a task that has not begun: Python warns of one that never runs. Others stop where they are."""
    task = getattr(callback, "__self__", None)
    coroutine = task.get_coro() if isinstance(task, asyncio.Task) else None
    if isinstance(coroutine, CoroutineType) and getcoroutinestate(coroutine) == CORO_CREATED:
        coroutine.close()


class SimulatedClock:
    """The Clock of a simulation. Its wall time can be set."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, right: SimulatedClock | None = None, ahead: float = 0.0
    ) -> None:
        """Make a clock that is `ahead` of the one that is right, by some seconds."""
        self._loop, self._right = loop, right
        self.ahead = ahead

    def time(self) -> float:
        return (self._right.time() if self._right else EPOCH + self._loop.time()) + self.ahead

    def monotonic(self) -> float:
        missed = self._loop.missed(PROCESS.get()) if isinstance(self._loop, SimulatedLoop) else 0.0
        return self._loop.time() - missed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds) and max(TICK, seconds))
