"""Kinds of values. Each reads what a file, a variable or a URL has, and describes it in JSON Schema."""

from __future__ import annotations

import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from skyferry.config.sections.faults import Collector, WrongValue, expect
from skyferry.config.units import DURATION, SIZE, parse_duration, parse_size
from skyferry.regex import compile_lazily

# The rows of `skyferry.stores.s3.services`.
ServiceName = Literal[
    "", "aws", "minio", "r2", "ceph", "ceph-versioned", "b2", "gcs-interop", "localstack", "rclone", "other"
]
NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"
Schema = dict[str, Any]
_BOOLS = dict.fromkeys(("1", "on", "t", "true", "y", "yes"), True) | dict.fromkeys(
    ("0", "off", "f", "false", "n", "no"), False
)
_VARIABLE = compile_lazily(r"\$\{\w+\}")
_LEADING_VARIABLE = compile_lazily(r"\$\w+(?=/|$)")
_ZEROS = compile_lazily(r"\.0*\s*$")


class Kind(ABC):
    """One kind of values."""

    title = ""  # on the page of all settings

    @abstractmethod
    def read(self, value: object) -> Any:
        """Return the value that a setting has. Raises ValueError, or InvalidSettings with the faults of parts of the value."""

    @abstractmethod
    def describe(self, definitions: Schema) -> Schema:
        """Return the JSON Schema. Sections and enumerations are added to `definitions`."""


class Secret:
    """A text that is never shown."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret('***')"


class Text(Kind):
    """A text. A number counts as one, because YAML reads `prefix: 2026` as a number."""

    title = "text"

    def __init__(self, pattern: str = "", check: Callable[[str], object] | None = None) -> None:
        self._pattern, self._check = pattern, check

    def read(self, value: object) -> Any:
        """Return the text."""
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise expect("text", value, "Put it in quotes.")
        text = str(value)
        if self._pattern and not re.fullmatch(self._pattern, text):
            what = "lower-case letters, digits, - and _, at most 63" if self._pattern == NAME else self._pattern
            raise expect(what, value)
        if self._check:
            self._check(text)
        return text

    def describe(self, definitions: Schema) -> Schema:
        """A text with a pattern cannot be written as a number."""
        return {"pattern": self._pattern, "type": "string"} if self._pattern else {"type": ["string", "number"]}


class SecretText(Text):
    """A secret."""

    def read(self, value: object) -> Any:
        """Return the secret. The error does not show it."""
        if isinstance(value, Secret):
            return value
        return Secret(super().read([value] if isinstance(value, bool) else value))


class Flag(Kind):
    """True or false."""

    title = "true or false"

    def read(self, value: object) -> Any:
        """Return a bool."""
        if isinstance(value, bool):
            return value
        if isinstance(value, int | float) and value in (0, 1):
            return bool(value)
        if not isinstance(value, str | int):
            raise expect("true or false", value)
        if (found := _BOOLS.get(str(value).lower())) is None:
            raise expect("true or false", value)
        return found

    def describe(self, definitions: Schema) -> Schema:
        """A boolean."""
        return {"type": "boolean"}


class Number(Kind):
    """A number. Texts are read as numbers, because variables and options of URLs are texts."""

    title = "number"

    def read(self, value: object) -> Any:
        """Return a float."""
        if not isinstance(value, str | int | float):
            raise expect("a number", value)
        try:
            return float(_check_ascii(value))
        except OverflowError:
            raise WrongValue("is too large") from None
        except ValueError:
            raise expect("a number", value) from None

    def describe(self, definitions: Schema) -> Schema:
        """A number."""
        return {"type": "number"}


class WholeNumber(Kind):
    """A whole number. Texts are read as for `Number`."""

    title = "whole number"

    def read(self, value: object) -> Any:
        """Return an int."""
        if not isinstance(value, str | int | float):
            raise expect("an integer", value)
        if isinstance(value, float) and not math.isfinite(value):
            raise expect("a finite number", value)
        if isinstance(value, float) and not value.is_integer():
            raise expect("an integer", value)
        try:
            return int(_ZEROS.sub("", _check_ascii(value)) if isinstance(value, str) else value)
        except ValueError:
            raise expect("an integer", value) from None

    def describe(self, definitions: Schema) -> Schema:
        """A whole number."""
        return {"type": "integer"}


class Duration(Number):
    """Seconds, or a text with a unit."""

    title = "duration"

    def __init__(self, minimum: float = 0) -> None:
        self._minimum = minimum

    def read(self, value: object) -> Any:
        """Return seconds."""
        seconds = super().read(given := parse_duration(value))
        if not math.isfinite(seconds):
            raise expect("a finite number", given)
        return check_bounds(seconds, given, least=self._minimum)

    def describe(self, definitions: Schema) -> Schema:
        """A number, or a text with a unit."""
        return _describe_unit(self._minimum, DURATION, "30s")


class Size(WholeNumber):
    """Bytes, or a text with a unit."""

    title = "size"

    def read(self, value: object) -> Any:
        """Return bytes."""
        return check_bounds(super().read(given := parse_size(value)), given, least=0)

    def describe(self, definitions: Schema) -> Schema:
        """A number, or a text with a unit."""
        return _describe_unit(0, SIZE, "64MiB")


class Choice(Kind):
    """One of some texts."""

    def __init__(self, options: Sequence[str]) -> None:
        self.options = tuple(options)

    @property
    def title(self) -> str:  # type: ignore[override]  # it depends on the options
        """The options."""
        return " or ".join(f"`{option}`" for option in self.options if option)

    def read(self, value: object) -> Any:
        """Return the text."""
        if not isinstance(value, str) or value not in self.options:
            *first, last = (repr(option) for option in self.options)
            raise expect(f"{', '.join(first)} or {last}" if first else last, value)
        return value

    def describe(self, definitions: Schema) -> Schema:
        """An enumeration."""
        return {"enum": list(self.options), "type": "string"}


class Member(Choice):
    """A member of an enumeration."""

    def __init__(self, enumeration: type[StrEnum]) -> None:
        super().__init__([member.value for member in enumeration])
        self._enumeration = enumeration

    def read(self, value: object) -> Any:
        """Return the member."""
        return self._enumeration(super().read(value))

    def describe(self, definitions: Schema) -> Schema:
        """A reference to the enumeration."""
        name = self._enumeration.__name__
        definitions[name] = {"description": str(self._enumeration.__doc__), **super().describe(definitions)}
        return {"$ref": f"#/$defs/{name}"}


class FilePath(Kind):
    """A path."""

    title = "path"

    def read(self, value: object) -> Any:
        """Return a Path."""
        if not isinstance(value, str | os.PathLike):
            raise expect("a path", value)
        if unreplaced := find_unreplaced(os.fspath(value), path=True):
            raise WrongValue(f"has {unreplaced}", "Write the whole path.")
        if not os.fspath(value):
            raise WrongValue("is empty", "Name a path, such as . for the current folder, or leave the setting out.")
        if "\0" in os.fspath(value):
            raise WrongValue("has the character U+0000, which no path has", "Remove it.")
        return Path(value)

    def describe(self, definitions: Schema) -> Schema:
        """Describe a path."""
        return {"format": "path", "type": "string"}


class Maybe(Kind):
    """A value that may be missing."""

    def __init__(self, inner: Kind) -> None:
        self.inner, self.title = inner, inner.title

    def read(self, value: object) -> Any:
        """Return the value, or None."""
        return None if value is None else self.inner.read(value)

    def describe(self, definitions: Schema) -> Schema:
        """Describe the inner kind, or null."""
        return {"anyOf": [self.inner.describe(definitions), {"type": "null"}]}


class Many(Kind):
    """A list."""

    def __init__(self, inner: Kind) -> None:
        self.inner = inner

    def read(self, value: object) -> Any:
        """Return a tuple."""
        if not isinstance(value, list | tuple):
            raise expect("a list", value)
        collector = Collector()
        items = tuple(collector.read(number, self.inner.read, item) for number, item in enumerate(value))
        collector.check()
        return items

    def describe(self, definitions: Schema) -> Schema:
        """An array."""
        return {"items": self.inner.describe(definitions), "type": "array"}


class TextList(Many):
    """A list of texts, or one text."""

    title = "list of text, or one"

    def __init__(self) -> None:
        super().__init__(Text())

    def read(self, value: object) -> Any:
        """Return a tuple."""
        return super().read((value,) if isinstance(value, str) else value)

    def describe(self, definitions: Schema) -> Schema:
        """A text or an array."""
        return {"anyOf": [self.inner.describe(definitions), super().describe(definitions)]}


class NamedValues(Kind):
    """Values by name."""

    title = "names with text"

    def __init__(self, inner: Kind) -> None:
        self.inner = inner

    def read(self, value: object) -> Any:
        """Return a dictionary."""
        if not isinstance(value, Mapping):
            raise expect("a section: lines of `name: value`", value)
        collector = Collector()
        items = {str(name): collector.read(str(name), self.inner.read, item) for name, item in value.items()}
        collector.check()
        return items

    def describe(self, definitions: Schema) -> Schema:
        """An object with any names."""
        return {"additionalProperties": self.inner.describe(definitions), "type": "object"}


class TextOrNamed(Kind):
    """A text, or texts by name."""

    title = "text, or names with text"

    def __init__(self) -> None:
        self._text, self._named = Text(), NamedValues(Text())

    def read(self, value: object) -> Any:
        """Return a text or a dictionary."""
        return (self._named if isinstance(value, Mapping) else self._text).read(value)

    def describe(self, definitions: Schema) -> Schema:
        """Either."""
        return {"anyOf": [self._text.describe(definitions), self._named.describe(definitions)]}


def find_unreplaced(text: str, *, path: bool) -> str:
    """Return what a shell would replace in a path or another location, and Skyferry does not; "" if there is nothing."""
    if path and text.partition("/")[0] == "~":
        return "~ for the home folder, which only a shell replaces"
    if found := _VARIABLE.search(text) or (_LEADING_VARIABLE.match(text) if path else None):
        return f"{found[0]}, and variables are not replaced"
    return ""


def _check_ascii(value: Any) -> Any:
    """Return a number, or a text that may be one. Raises ValueError for digits of other scripts, which Python would read."""
    if isinstance(value, str):
        value.encode("ascii")
    return value


def check_bounds(
    number: Any, given: object, *, least: float | None = None, above: float | None = None, most: float | None = None
) -> Any:
    """Return a number within bounds. Raises WrongValue, which shows it as it was given."""
    if least is not None and not number >= least:
        raise expect(f"greater than or equal to {least:g}", given)
    if above is not None and not number > above:
        raise expect(f"greater than {above:g}", given)
    if most is not None and not number <= most:
        raise expect(f"less than or equal to {most:g}", given)
    return number


def _describe_unit(minimum: float, pattern: str, example: str) -> Schema:
    number = {"minimum": minimum, "type": "number"}
    return {"anyOf": [number, {"pattern": pattern, "type": "string"}], "examples": [example]}
