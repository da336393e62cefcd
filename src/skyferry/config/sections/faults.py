"""Faults in the data of a section."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from math import isfinite
from typing import Any, Literal

from skyferry.config.reading.faults import Place, format_place
from skyferry.frozen import dataclass


@dataclass(frozen=True, slots=True)
class ValueFault:
    """One faulty value."""

    place: Place  # below the section that was read
    message: str
    hint: str = ""
    kind: Literal["missing", "unknown", "wrong"] = "wrong"


class WrongValue(ValueError):
    """A value is not of the kind that a setting has."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class InvalidSettings(ValueError):
    """Data are not a section. `faults` has every fault."""

    def __init__(self, faults: Sequence[ValueFault]) -> None:
        super().__init__("; ".join(f"{format_place(f.place)}: {f.message}".removeprefix(": ") for f in faults))
        self.faults = tuple(faults)


def expect(what: str, value: object, hint: str = "") -> WrongValue:
    """Return the error of a value that is not what it must be. Large values are not shown."""
    shown = "" if isinstance(value, dict | list) else f", not {show_value(value)}"
    return WrongValue(f"must be {what}{shown}", hint)


def show_value(value: object) -> str:
    """Return a value for messages, as it is written in YAML."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float) and not isfinite(value):
        return f"{value}".replace("inf", ".inf").replace("nan", ".nan")
    return str(value) if isinstance(value, date) else repr(value)


def find_faults(part: str | int, error: ValueError) -> Iterable[ValueFault]:
    """Return the faults of one part of a value, with their places in the whole."""
    if not isinstance(error, InvalidSettings):
        return [ValueFault((part,), str(error), getattr(error, "hint", ""))]
    return [ValueFault((part, *each.place), each.message, each.hint, each.kind) for each in error.faults]


class Collector:
    """Reads the parts of a value, and collects the faults of all."""

    def __init__(self) -> None:
        self.faults: list[ValueFault] = []

    def read(self, part: str | int, read: Any, value: object) -> Any:
        """Return what `read` makes of a value; None if it is faulty."""
        try:
            return read(value)
        except ValueError as error:
            self.faults += find_faults(part, error)

    def check(self) -> None:
        """Raise InvalidSettings if there are faults."""
        if self.faults:
            raise InvalidSettings(self.faults)
