"""Signals that end a command: drain on the first one, exit on the second."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from skyferry.cli.exit_codes import ExitCode

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def handle_signals(on_first: Callable[[], None], before_exit: Callable[[], None] = lambda: None) -> Iterator[list[int]]:
    """Yield the list of received signals. The first one calls `on_first`, the second ends the process at once.

    The process ends without cleaning up, apart from `before_exit`: threads may be in the middle of blocking work. A hangup
    that is ignored, as under `nohup`, stays ignored. A later one changes nothing: a shell and the system may each send one for
    the same terminal.
    """
    numbers = [number for number in ENDING if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    received: list[int] = []

    def handle(number: int) -> None:
        if received and number == signal.SIGHUP:
            return
        if received:
            before_exit()
            os._exit(ExitCode.INTERRUPTED)
        received.append(number)
        on_first()

    loop = asyncio.get_running_loop()
    for number in numbers:
        loop.add_signal_handler(number, handle, number)
    try:
        yield received
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
        if signal.SIGHUP in received:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)


def treat_sigterm_as_interrupt() -> None:
    """Let SIGTERM cancel the command like Ctrl-C, so that it deletes its test objects."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)
