"""The first signal says at once what happens, and drains."""

from __future__ import annotations

import asyncio
import os
import signal
from types import SimpleNamespace

import pytest

from skyferry.cli.commands.objects.copy import _interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_first_signal_says_what_happens(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    drained = asyncio.Event()
    with _interruptible(SimpleNamespace(drain=drained.set)) as came:  # type: ignore[arg-type]  # all that is asked of it
        os.kill(os.getpid(), number)
        await drained.wait()
    assert came == [number]
    assert "the same signal again ends at once" in capsys.readouterr().err
