"""The progress of `skyferry copy` on a terminal."""

from __future__ import annotations

import asyncio
from io import StringIO

import pytest
from rich.console import Console

from skyferry.cli.render.copy_progress import CopyProgress, _create_bar, _draw


@pytest.mark.parametrize(("columns", "rate"), [(40, False), (60, False), (80, True), (120, True)])
async def test_it_is_one_line_on_a_terminal_of_any_width(
    columns: int, rate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a narrow one, the counts remain."""
    monkeypatch.setenv("COLUMNS", str(columns))
    copied = CopyProgress(copied=2_092, copied_bytes=2**20)
    copied.found.objects, copied.found.bytes = 3_000, 600 * 2**20
    bar = _create_bar()
    drawing = asyncio.create_task(_draw(bar, copied))
    while not bar.tasks or not bar.tasks[0].completed:
        await asyncio.sleep(0)
    drawing.cancel()
    shown = StringIO()
    Console(width=columns, file=shown).print(bar.get_renderable())
    [line] = shown.getvalue().splitlines()
    assert line.startswith("2,092 of 3,000+ objects ")
    assert ("1.0 MiB" in line, "of 600.0 MiB, " in line, "B/s" in line) == (True, rate, rate), line
