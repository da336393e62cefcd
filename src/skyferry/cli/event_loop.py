"""The event loop of long commands (uvloop, where it is installed), their open files, their memory and garbage collector."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib
import os
import resource
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from skyferry import COLLECT_AFTER
from skyferry.errors import ConfigError
from skyferry.tasks.threads import is_refusal

VARIABLE = "SKYFERRY_EVENT_LOOP"
FILES = 10_240  # open files; macOS allows no more in a process
FEWEST = 128  # open files: a folder keeps up to 64 locks open, and a copy without a free descriptor would wait for ever
MMAP_THRESHOLD, LARGE = -3, 2**20  # the parameter of mallopt(3), and bytes
T = TypeVar("T")


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine like `asyncio.run`, on uvloop where it is installed.

    Raise ConfigError for a wrong SKYFERRY_EVENT_LOOP, if too few files may be open, or if the clock is before 1970.
    """
    try:
        check_clock(time.time())
        raise_file_limit()  # before imports open files
        factory = choose_loop(os.environ.get(VARIABLE, "").strip().lower())
    except BaseException:  # an interrupt too: Python warns of a coroutine that is never awaited
        work.close()
        raise
    return_large_buffers()
    runner = asyncio.Runner(loop_factory=factory)
    try:
        return runner.run(work)
    finally:
        _close_runner(runner)


def _close_runner(runner: asyncio.Runner) -> None:
    """Close the loop, also where no thread can be started that waits for the others: none of them has anything to do."""
    try:
        runner.close()
    except RuntimeError as refused:
        if not is_refusal(refused):
            raise


def choose_loop(wanted: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the factory of the loop `wanted`: asyncio or uvloop; "" is uvloop if it is installed. None is asyncio's.

    Raise ConfigError for another value, and for uvloop if it cannot be imported.
    """
    if wanted not in ("", "asyncio", "uvloop"):
        raise ConfigError(f"the event loop {wanted!r} is unknown", where=VARIABLE, hint="set it to asyncio or uvloop")
    if wanted == "asyncio" or (not wanted and sys.implementation.name != "cpython"):
        return None
    try:
        factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    except ImportError as missing:
        if wanted:
            hint = "pip install 'skyferry[uvloop]'"
            raise ConfigError("uvloop is not installed", where=VARIABLE, hint=hint) from missing
        return None
    return factory


def check_clock(now: float) -> None:
    """Raise ConfigError for a time before 1970: what is due at 0, such as a new transfer, would be due in the future."""
    if now < 0:
        hint = "set the clock, for signatures of requests and times in the ledger need it"
        raise ConfigError("the clock of this machine is before 1970", hint=hint)


def raise_file_limit() -> None:
    """Allow this process as many open files as its user may have: each transfer needs two connections. Raise ConfigError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(hard, FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # then fewer transfers run at the same time
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FEWEST:
        hint = f"raise it to {FEWEST} or more (ulimit -n)"
        raise ConfigError(f"this process may open only {soft} files", hint=hint)


def return_large_buffers() -> None:
    """Let the C library return the memory of each part to the system as soon as it is freed.

    glibc raises the size from which it does so when a part is freed, up to 32 MiB. Then each thread keeps the memory of parts that
    have passed, in addition to the budget. Other C libraries have no such parameter, or ignore it.
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, LARGE)


def tune_collector() -> None:
    """Keep the objects of the start out of collections, and collect less often. Call it once everything is built.

    Collecting the objects of the start again and again took a tenth of the time of each decision. Records and messages are
    freed without the collector, so it looks at objects in use: with 20,000 that took 21 of 770 µs of a copy, and found one
    object in 5 copies.
    """
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
