"""Regular expressions that are compiled when they are first used.

Compiling those of all modules took 5 ms of the start of each command, which uses a few of them.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast


class _LazyPattern:
    """Acts as the `re.Pattern` of its text. A method that was called once is an attribute, so later calls cost nothing more."""

    def __init__(self, text: str | bytes, flags: int) -> None:
        self._text, self._flags = text, flags

    def __getattr__(self, name: str) -> Any:
        found = getattr(re.compile(self._text, self._flags), name)
        setattr(self, name, found)
        return found

    def __reduce__(self) -> tuple[object, ...]:
        return _LazyPattern, (self._text, self._flags)


def compile_lazily(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return a pattern for a constant of a module. An invalid text raises `re.error` in the first use."""
    return cast("re.Pattern[AnyStr]", _LazyPattern(text, flags))
