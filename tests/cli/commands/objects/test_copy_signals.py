"""The first signal reports at once what happens, and drains."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from skyferry.cli.commands.objects.copying.run import drain
from skyferry.cli.exit_codes import ExitCode
from skyferry.cli.signals import ENDING, handle_signals
from skyferry.engine.service import Service


@pytest.fixture(autouse=True)
def default_hangup() -> Iterator[None]:
    """Restore what a handled hangup leaves."""
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", ENDING)
async def test_the_first_signal_reports_what_happens(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    drained = asyncio.Event()
    service = cast(Service, SimpleNamespace(drain=drained.set))
    with handle_signals(partial(drain, service)) as received:
        os.kill(os.getpid(), number)
        await drained.wait()
    assert received == [number]
    assert "the same signal again ends at once" in capsys.readouterr().err


@pytest.mark.parametrize(("ignored", "received"), [(False, [signal.SIGHUP]), (True, [])])
async def test_a_hangup_that_is_ignored_stays_ignored(ignored: bool, received: list[int]) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        with handle_signals(lambda: None) as found:
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0.01)
        assert found == received
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("first", ENDING)
async def test_a_hangup_after_another_signal_changes_nothing(first: int) -> None:
    """An interactive shell sends one to its jobs, and the system another, when the terminal is closed."""
    begun: list[str] = []
    with handle_signals(lambda: begun.append("drain")) as found:
        for number in (first, signal.SIGHUP):
            os.kill(os.getpid(), number)
            await asyncio.sleep(0.01)
    assert (found, begun) == ([first], ["drain"])


def test_a_closed_terminal_lets_transfers_in_flight_complete(tmp_path: Path) -> None:
    """And the same command copies the rest."""
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    for number in range(2000):
        (source / f"{number}").write_bytes(b"content")
    command = [
        sys.executable,
        "-m",
        "skyferry",
        "copy",
        str(source),
        str(out),
        "--workspace",
        str(tmp_path / "state"),
        "--no-fsync",
    ]
    master, terminal = pty.openpty()
    leads = [sys.executable, "-c", _LEADER, *command]
    with subprocess.Popen(
        leads, stdin=terminal, stderr=terminal, stdout=subprocess.DEVNULL, start_new_session=True
    ) as running:
        os.close(terminal)
        while not (out.is_dir() and next(out.glob("[0-9]*"), None)):
            assert running.poll() is None
            time.sleep(0.01)
        os.close(master)  # the terminal is gone: SIGHUP, and writes to it fail
        assert running.wait(60) == ExitCode.INTERRUPTED
    arrived = list(out.glob("[0-9]*"))
    assert 0 < len(arrived) < 2000
    assert {path.read_bytes() for path in arrived} == {b"content"}
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert len(list(out.glob("[0-9]*"))) == 2000


_LEADER = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # of this session
os.execv(sys.argv[1], sys.argv[1:])
"""
