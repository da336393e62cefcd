"""The base of all sections of the configuration, and the declaration of their settings.

    class LogSettings(Section):
        \"\"\"Logs, on standard error.\"\"\"

        level: Literal["debug", "info"] = setting(default="info", description="Lowest severity that is logged.")

The annotation is the kind of the value. A general library for this takes 0.15 s of each command's start.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError
from enum import StrEnum
from operator import itemgetter
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    Self,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from skyferry.config.reading.faults import suggest
from skyferry.config.sections import kinds
from skyferry.config.sections.faults import Collector, InvalidSettings, ValueFault, expect
from skyferry.config.sections.kinds import Kind, Schema
from skyferry.frozen import dataclass
from skyferry.regex import compile_lazily

Seconds = Annotated[float, kinds.Duration()]
Lease = Annotated[float, kinds.Duration(minimum=0.1)]
Bytes = Annotated[int, kinds.Size()]
Texts = Annotated[tuple[str, ...], kinds.TextList()]
CONTROL = compile_lazily(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
REQUIRED: Any = object()
_GIVEN = "model_fields_set"


@dataclass(frozen=True, slots=True)
class Setting:
    """The declaration of one setting."""

    description: str
    default: Any
    default_factory: Callable[[], Any] | None
    alias: str  # the name in files, if it is not that of the attribute
    bounds: Mapping[str, float | None]  # of a number, as `check_bounds` takes them
    pattern: str  # of a text

    @property
    def required(self) -> bool:
        """True if it has no default."""
        return self.default is REQUIRED and self.default_factory is None

    def make_default(self) -> Any:
        """Return the default."""
        return self.default_factory() if self.default_factory else self.default


def setting(
    *,
    description: str,
    default: Any = REQUIRED,
    default_factory: Callable[[], Any] | None = None,
    alias: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    pattern: str = "",
) -> Any:
    """Declare a setting, in place of its default."""
    bounds = {"least": ge, "above": gt, "most": le} if (ge, gt, le) != (None, None, None) else {}
    return Setting(description, default, default_factory, alias, bounds, pattern)


@dataclass_transform(eq_default=True, kw_only_default=True, frozen_default=True, field_specifiers=(setting,))
class Section:
    """A part of the configuration. Unknown names are faults, and values are immutable.

    Names and addresses must not contain control characters. No provider allows these, and the texts appear in logs and in
    scripts that administrators run.
    """

    keys: ClassVar[frozenset[str]] = frozenset()  # settings that are parts of object keys, which may have any character
    model_fields: ClassVar[Mapping[str, Setting]] = MappingProxyType({})
    _kinds: ClassVar[Mapping[str, Kind] | None] = None

    def __init_subclass__(cls) -> None:
        declared = {name: value for name, value in cls.__dict__.items() if isinstance(value, Setting)}
        for name in declared:
            delattr(cls, name)
        cls.model_fields, cls._kinds = MappingProxyType({**cls.model_fields, **declared}), None

    def __init__(self, /, **given: Any) -> None:
        """Read the settings. Raises InvalidSettings."""
        fields, left, collector = self.model_fields, dict(given), Collector()
        values: dict[str, Any] = {}
        for name, field in fields.items():
            written = field.alias if field.alias and field.alias in left else name
            if written in left:
                values[name] = collector.read(field.alias or name, self._reader(name, field), left.pop(written))
            elif field.required:
                collector.faults.append(ValueFault((field.alias or name,), "is missing", kind="missing"))
            else:
                values[name] = field.make_default()
        names = [field.alias or name for name, field in fields.items()]
        for unknown in left:
            collector.faults.append(ValueFault((unknown,), "is not a setting", suggest(unknown, names), "unknown"))
        collector.check()
        aliases = {field.alias: name for name, field in fields.items() if field.alias}
        self.__dict__.update(values, **{_GIVEN: frozenset(aliases.get(name, name) for name in given)})
        try:
            self.check()
        except ValueError as error:
            raise InvalidSettings([ValueFault((), str(error))]) from error

    @classmethod
    def find_kinds(cls) -> Mapping[str, Kind]:
        """Return the kind of each setting."""
        if cls._kinds is None:  # annotations are evaluated once, and only if the section is read
            hints = get_type_hints(cls, include_extras=True)
            cls._kinds = {name: _find_kind(hints[name], field) for name, field in cls.model_fields.items()}
        return cls._kinds

    def _reader(self, name: str, field: Setting) -> Callable[[object], Any]:
        kind = self.find_kinds()[name]
        is_text = name not in self.keys

        def read(value: object) -> Any:
            found = kind.read(value)
            if field.bounds and found is not None:
                kinds.check_bounds(found, value, **field.bounds)
            if is_text and isinstance(found, str) and CONTROL.search(found):
                ending = "" if CONTROL.search(found.rstrip("\r\n")) else ": remove the line break at its end"
                raise ValueError(f"must not contain control characters{ending}")
            return found

        return read

    def check(self) -> None:
        """Check settings against each other. Raises ValueError."""

    @property
    def model_fields_set(self) -> frozenset[str]:
        """The settings that were given, the others have their defaults."""
        given: frozenset[str] = self.__dict__[_GIVEN]
        return given

    def list_given(self) -> dict[str, Any]:
        """Return the settings that were given, with their values."""
        return {name: self.__dict__[name] for name in self.model_fields_set}

    @classmethod
    def model_validate(cls, data: Mapping[str, Any]) -> Self:
        """Read a section. Raises InvalidSettings with every fault."""
        return cls(**data)

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """Return a section with other values, which are not checked."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__, **update)
        made.__dict__[_GIVEN] = self.model_fields_set | update.keys()
        return made

    def override(self, given: Mapping[str, Any]) -> Self:
        """Return a section with other values, which are read like those of a file. Raises InvalidSettings."""
        return type(self)(**(self.list_given() | dict(given)))

    def _values(self) -> Any:
        return itemgetter(*self.model_fields)(self.__dict__)

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"settings are frozen, so {name} cannot be set")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        shown = (f"{name}={self.__dict__[name]!r}" for name in self.model_fields)
        return f"{type(self).__name__}({', '.join(shown)})"


class SectionKind(Kind):
    """A section in a section."""

    def __init__(self, kind: type[Section]) -> None:
        self.kind = kind

    def read(self, value: object) -> Any:
        """Return the section."""
        if isinstance(value, self.kind):
            return value
        if not isinstance(value, Mapping):
            raise expect("a section: lines of `name: value`", value)
        return self.kind(**value)

    def describe(self, definitions: Schema) -> Schema:
        """A reference to the section."""
        name = self.kind.__name__
        if name not in definitions:
            definitions[name] = {}  # a section may be in itself
            definitions[name] = describe_section(self.kind, definitions)
        return {"$ref": f"#/$defs/{name}"}


def find_section(kind: Kind) -> type[Section] | None:
    """Return the kind of the section, or sections, in a value; None if it has none."""
    while isinstance(kind, kinds.Many | kinds.NamedValues | kinds.Maybe):
        kind = kind.inner
    return kind.kind if isinstance(kind, SectionKind) else None


_PLAIN: Mapping[Any, type[Kind]] = MappingProxyType(
    {
        str: kinds.Text,
        bool: kinds.Flag,
        int: kinds.WholeNumber,
        float: kinds.Number,
        Path: kinds.FilePath,
        kinds.Secret: kinds.SecretText,
    }
)


def _find_kind(annotation: Any, field: Setting) -> Kind:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        kind: Kind = arguments[1]
        return kind
    if origin is Literal:
        return kinds.Choice(arguments)
    if origin in (Union, UnionType) and NoneType in arguments:
        return kinds.Maybe(_find_kind(next(each for each in arguments if each is not NoneType), field))
    if origin in (Union, UnionType):
        return kinds.TextOrNamed()
    if origin is tuple:
        return kinds.Many(_find_kind(arguments[0], field))
    if origin is dict:
        return kinds.NamedValues(_find_kind(arguments[1], field))
    if issubclass(annotation, Section):
        return SectionKind(annotation)
    if issubclass(annotation, StrEnum):
        return kinds.Member(annotation)
    return kinds.Text(field.pattern) if field.pattern else _PLAIN[annotation]()


def describe_section(section: type[Section], definitions: Schema) -> Schema:
    """Return the JSON Schema of a section; `definitions` gets those of the sections in it."""
    properties = {
        field.alias or name: _describe_setting(section.find_kinds()[name], field, definitions)
        for name, field in section.model_fields.items()
    }
    required = [field.alias or name for name, field in section.model_fields.items() if field.required]
    return {
        "additionalProperties": False,
        "description": one_line(section.__doc__ or ""),
        "properties": properties,
        **({"required": required} if required else {}),
        "type": ["object", "null"],  # empty values are left out
    }


_BOUNDS = {"least": "minimum", "above": "exclusiveMinimum", "most": "maximum"}


def _describe_setting(kind: Kind, field: Setting, definitions: Schema) -> Schema:
    described = kind.describe(definitions)
    if "type" in described:  # not a number with a unit
        described |= {_BOUNDS[name]: bound for name, bound in field.bounds.items() if bound is not None}
    if described.get("type") in ("object", "array"):
        described["type"] = [described["type"], "null"]
    if field.default_factory is None and not field.required:
        described["default"] = _plain(field.default)
    if not (isinstance(kind, SectionKind) and field.description == kind.kind.__doc__):
        described["description"] = one_line(field.description)
    return dict(sorted(described.items()))


def _plain(default: Any) -> Any:
    return (
        list(default)
        if isinstance(default, tuple)
        else str(default)
        if isinstance(default, Path | StrEnum)
        else default
    )


def one_line(text: str) -> str:
    """Return a text without line breaks."""
    return re.sub(r"\s+", " ", text).strip()
