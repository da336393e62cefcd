"""The output of commands: JSON, tables and text. Errors are one line on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from skyferry.regex import compile_lazily

if TYPE_CHECKING:
    from pydantic import BaseModel

PIPED = 240  # columns if standard output is not a terminal, so that lines are not wrapped
_CONTROL = compile_lazily("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def print_json(document: object) -> None:
    """Print one JSON document in one line to standard output. Lone surrogates (keys that are no Unicode) are escaped."""
    import orjson

    try:
        line = orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        import json  # seldom needed

        line = json.dumps(document, separators=(",", ":"))
    sys.stdout.write(line + "\n")


def print_model(document: BaseModel) -> None:
    """Print a response model of the HTTP API as JSON: `--json` and the API share the contract of docs/reference/openapi.json."""
    sys.stdout.write(document.model_dump_json() + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table, with control characters in cells escaped, so that they cannot control the terminal."""
    from shutil import get_terminal_size

    from skyferry.cli.render.table import format_table

    cells = [[escape_control(cell) for cell in row] for row in rows]
    width = get_terminal_size().columns if sys.stdout.isatty() else PIPED
    for line in format_table(columns, cells, width):
        sys.stdout.write(line + "\n")


def print_lines(*texts: str) -> None:
    """Print plain lines without wrapping, with control characters escaped."""
    for text in texts:
        sys.stdout.write(escape_lines(text) + "\n")


def escape_control(text: str) -> str:
    """Escape control characters and bidirectional marks."""
    return text if text.isprintable() else _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def escape_lines(text: str) -> str:
    """Escape control characters except line feeds."""
    if text.isprintable():
        return text
    return "\n".join(escape_control(line) for line in text.split("\n"))


def format_time(seconds: float | None) -> str:
    """Format a time in the local zone; "" for None."""
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def format_timestamp(seconds: float) -> str:
    """Format a time as RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def format_duration(seconds: float) -> str:
    """Format a duration with one or two units."""
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


def format_size(count: int | None) -> str:
    """Format a number of bytes; "" for None."""
    if count is None:
        return ""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{count} B" if not unit else f"{value:.1f} {_UNITS[unit]}"


def format_count(number: int, noun: str) -> str:
    """Format a count with its noun, such as `2 dead letters`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
