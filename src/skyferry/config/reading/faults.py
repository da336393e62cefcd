"""The faults of a configuration, all at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from skyferry.errors import ConfigError
from skyferry.frozen import dataclass

Place = tuple[str | int, ...]  # ("routes", 1, "from")


@dataclass(frozen=True, slots=True)
class ConfigFault:
    """One fault, or one warning of a probable mistake."""

    where: str  # routes[1].from, or the environment variable or option that set it
    message: str
    hint: str = ""
    line: int | None = None  # of the file, from 1; None if the file does not say it

    def __str__(self) -> str:
        line = f"line {self.line}, " if self.line else ""
        return f"{line}{self.where}: {self.message}" + (f". {self.hint}" if self.hint else "")


class InvalidYaml(ValueError):
    """A text is not YAML."""

    def __init__(self, message: str, hint: str, line: int | None) -> None:
        super().__init__(message)
        self.message, self.hint, self.line = message, hint, line


class ConfigFaults(ConfigError):
    """The configuration has faults. `faults` has all of them, in the order of the file."""

    def __init__(self, faults: Sequence[ConfigFault], file: Path | None = None) -> None:
        self.faults = tuple(faults)
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__("\n  ".join([count, *map(str, faults)]), where=str(file or "configuration"))


def format_place(place: Place) -> str:
    """`routes[1].from`"""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")


def suggest(word: str, known: Iterable[str]) -> str:
    """Return a hint: a similar word, or all known ones."""
    from difflib import get_close_matches

    names = list(known)
    if close := get_close_matches(word, names, 1, cutoff=0.6):
        return f"Did you mean {close[0]}?"
    return f"Known: {', '.join(names)}." if names else ""
