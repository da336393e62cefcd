"""Durations and sizes with units."""

from __future__ import annotations

from math import isfinite

from skyferry.regex import compile_lazily

_TIME = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = {"": 1, "b": 1} | {
    f"{prefix}{unit}": base**power
    for power, prefix in enumerate("kmgt", 1)
    for unit, base in (("b", 1000), ("", 1000), ("ib", 1024))
}
_NUMBER = compile_lazily(r"^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*$")
DURATION = r"^\s*\d+(\.\d+)?\s*([mM]?[sS]|[mMhHdD])?\s*$"  # of parse_duration, for JSON Schema (ECMA 262)
SIZE = r"^\s*\d+(\.\d+)?\s*([kKmMgGtT]?[bB]|[kKmMgGtT]([iI][bB])?)?\s*$"  # of parse_size


def parse_duration(value: object) -> object:
    """Parse "1.5h", "30s", "200ms" or a number into seconds. Return anything else as it is, for the validator."""
    return _parse(value, _TIME, "a duration such as 30s, 5m or 1.5h")


def parse_size(value: object) -> object:
    """Parse "64MiB" (1024), "1GB" (1000) or a number into bytes. Return anything else as it is, for the validator."""
    parsed = _parse(value, _SIZE, "a size such as 512KiB, 64MiB or 1GB")
    return round(parsed) if isinstance(parsed, float) and isfinite(parsed) else parsed


def _parse(value: object, units: dict[str, float] | dict[str, int], want: str) -> object:
    if isinstance(value, bool):  # it would be read as 0 or 1
        raise ValueError(f"{str(value).lower()} is not {want}")
    if not isinstance(value, str):
        return value
    match = _NUMBER.match(value)
    factor = units.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"{value!r} is not {want}")
    return float(match[1]) * factor


def parse_window(text: str) -> tuple[float, float]:
    """Return start and end of "10s-25s" in seconds. Raises ValueError."""
    start, dash, end = text.partition("-")
    try:
        span = _seconds(start), _seconds(end)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a window such as 10s-25s") from error
    if not dash or span[0] >= span[1]:
        raise ValueError(f"{text!r} is not a window such as 10s-25s")
    return span


def _seconds(text: str) -> float:
    return float(str(_parse(text, _TIME, "a duration")))
