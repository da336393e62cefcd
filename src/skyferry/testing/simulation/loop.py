"""An asyncio event loop on virtual time, with processes that can crash or freeze between any two steps.

Sleeps take no real time: if no callback is ready, the clock jumps to the next timer. Each task belongs to the process that
`PROCESS` named at its creation. A crashed process never runs again, as after `kill -9`: no `finally`, no cleanup.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from heapq import heapify, heappop, heappush
from inspect import CORO_CREATED, getcoroutinestate
from itertools import count
from types import CoroutineType
from typing import Any, TypeVarTuple

Ts = TypeVarTuple("Ts")
PROCESS: ContextVar[str] = ContextVar("PROCESS", default="")
TICK = 1e-6  # seconds: shorter sleeps may be lost in the rounding of times
EPOCH = 1_700_000_000.0  # the simulated wall clock at the start


class Deadlock(Exception):
    """All tasks wait and no timer is set, so the simulation cannot continue."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """A loop that runs simultaneously ready callbacks in an order drawn from `random`.

    It replaces the queues of the base class: tests spend most of their time here.
    """

    def __init__(self, random: random.Random) -> None:
        super().__init__()
        self._random = random
        self._now = 0.0
        self._soon: list[tuple[str, Any]] = []  # the ready callbacks: process and handle
        self._timers: list[tuple[float, int, str, Any]] = []  # a heap of time, serial, process and handle
        self._serials = count()
        self.crashed: set[str] = set()
        self._frozen: dict[str, float] = {}
        self._suspended: dict[str, float] = {}  # seconds that the monotonic clock of a process has missed
        self.set_exception_handler(lambda _, context: None)  # tasks of crashed processes end unfinished

    def time(self) -> float:
        return self._now

    def freeze(self, process: str, seconds: float) -> None:
        """Stop a process, as SIGSTOP does; it continues after `seconds`. Its timers are due then."""
        self._frozen[process] = self._now + seconds

    def suspend(self, process: str, seconds: float) -> None:
        """Stop a process together with its monotonic clock, as a virtual machine is suspended. Its timers are late, too."""
        self.freeze(process, seconds)
        self._suspended[process] = self.missed(process) + seconds
        self._timers = [
            (when + seconds if owner == process else when, serial, owner, handle)
            for when, serial, owner, handle in self._timers
        ]
        heapify(self._timers)

    def thawed(self, process: str) -> float:
        """Return the time at which a process continued, or will continue, after its last stop; 0 if it never stopped."""
        return self._frozen.get(process, 0.0)

    def missed(self, process: str) -> float:
        """Return the seconds that the monotonic clock of a process has missed."""
        return self._suspended.get(process, 0.0)

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._soon.append((_process_of(context), handle))
        return handle

    call_soon_threadsafe = call_soon  # there is one thread; the finalizers of generators use this

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heappush(self._timers, (when, next(self._serials), _process_of(context), handle))
        return handle

    def _run_once(self) -> None:
        """Run the callbacks that are ready now, in any order. If there are none, let time pass until there are."""
        timers = self._timers
        while timers and timers[0][3].cancelled():
            heappop(timers)
        if not self._soon:
            if not timers:
                raise Deadlock
            self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            self._soon.append(heappop(timers)[2:])
        ready, self._soon = self._soon, []
        if len(ready) > 1:
            self._random.shuffle(ready)
        for process, handle in ready:
            if not handle.cancelled():
                self._run(process, handle)

    def _run(self, process: str, handle: Any) -> None:
        if process in self.crashed:
            _discard(handle._callback)
        elif (thaw := self._frozen.get(process, 0.0)) > self._now:
            heappush(self._timers, (thaw, next(self._serials), process, handle))
        else:
            handle._run()

    def spawn(self, process: str, coroutine: Any, name: str) -> asyncio.Task[Any]:
        """Start a task of a process."""
        context = copy_context()
        context.run(PROCESS.set, process)
        return self.create_task(coroutine, name=name, context=context)


def _process_of(context: Context | None) -> str:
    return PROCESS.get() if context is None else context.get(PROCESS, "")


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
