"""Threads of this process, and the error where the system allows no more."""

from __future__ import annotations

import threading
from collections.abc import Callable

from skyferry.errors import OutOfResources

HINT = "raise the limits of threads and memory (ulimit -u, ulimit -v, the container's pids and memory)"


def is_refusal(error: BaseException) -> bool:
    """Return True for the error of Python if the system allows no more threads. Only its text distinguishes it."""
    return isinstance(error, RuntimeError) and str(error) == "can't start new thread"


def refuse_thread() -> OutOfResources:
    """Return the error of a thread that the system does not allow."""
    return OutOfResources("no thread can be started", hint=HINT)


def start_thread(name: str, work: Callable[..., object], *args: object) -> threading.Thread:
    """Start a thread that does not keep the process alive. Raises OutOfResources."""
    thread = threading.Thread(target=work, args=args, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as refused:
        raise refuse_thread() from refused
    return thread


async def call_aside(function: Callable[..., object], *args: object) -> None:
    """Call a function that blocks, such as `join`, in a thread; in this one if no other can be started."""
    import asyncio  # slow to import, and only commands with an event loop need it

    try:
        await asyncio.to_thread(function, *args)
    except RuntimeError as refused:
        if not is_refusal(refused):
            raise
        function(*args)
