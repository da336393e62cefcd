"""The first signal reports at once what happens, and drains."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial
from types import SimpleNamespace
from typing import cast

import pytest

from skyferry.cli.commands.objects.copying.run import drain
from skyferry.cli.signals import handle_signals
from skyferry.engine.service import Service


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_first_signal_reports_what_happens(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    drained = asyncio.Event()
    service = cast(Service, SimpleNamespace(drain=drained.set))
    with handle_signals((signal.SIGINT, signal.SIGTERM), partial(drain, service)) as received:
        os.kill(os.getpid(), number)
        await drained.wait()
    assert received == [number]
    assert "the same signal again ends at once" in capsys.readouterr().err
