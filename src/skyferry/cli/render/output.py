"""What commands print: JSON for programs, tables and words for people. Errors are one line on standard error."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

PIPED = 240  # columns where nobody looks: lines are not to be broken
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def emit(document: object) -> None:
    """One JSON document in one line to standard output."""
    import orjson

    sys.stdout.write(orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS).decode() + "\n")


def emit_model(document: BaseModel) -> None:
    """The same for what the HTTP API would answer: `--json` and the API are one contract, that of docs/reference/openapi.json."""
    sys.stdout.write(document.model_dump_json() + "\n")


def console() -> Console:
    """Standard output; colours only on a terminal."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else PIPED, highlight=False, markup=False, emoji=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows under their columns. What a key or a message holds cannot move the cursor or colour the terminal."""
    from rich import box
    from rich.table import Table

    grid = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for row in rows:
        grid.add_row(*(safe(cell) for cell in row))
    console().print(grid)


def lines(*texts: str) -> None:
    """Plain lines, unbroken."""
    for text in texts:
        sys.stdout.write(safe_lines(text) + "\n")


def safe(text: str) -> str:
    """With control characters and what turns text around written as escapes."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def safe_lines(text: str) -> str:
    """The same, but lines stay lines."""
    return "\n".join(safe(line) for line in text.split("\n"))


def when(seconds: float | None) -> str:
    """A time for people, in their zone; "" if there is none."""
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def timestamp(seconds: float) -> str:
    """A time for programs, RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def span(seconds: float) -> str:
    """A duration with one unit, or two."""
    if seconds < 0.9995:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def size(count: int | None) -> str:
    """Bytes for people; "" if unknown."""
    if count is None:
        return ""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{count} B" if not unit else f"{value:.1f} {_UNITS[unit]}"


def count(number: int, noun: str) -> str:
    """`1 dead letter`, `2 dead letters`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
