"""`docs/reference/configuration.md`, from the settings: `python -m skyferry.config.reference > PAGE`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import Enum
from inspect import getdoc
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, SecretStr
from pydantic.fields import FieldInfo

from skyferry.config.reading.renamed import ANY, SETTINGS
from skyferry.config.settings import Settings
from skyferry.config.units import parse_duration, parse_size

_TYPES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    SecretStr: "text",  # pragma: allowlist secret
    dict: "names with text",
    tuple: "list of text, or one",
}
_INTRODUCTION = Path(__file__).with_name("reference.md")


def render_configuration() -> str:
    """The page."""
    return "".join([_INTRODUCTION.read_text("utf-8"), *_section(Settings, "", "## The whole file"), *_old_names()])


def _old_names() -> Iterator[str]:
    yield "\n## Old names\n\nThese are accepted with a warning until 1.0, in the file, in variables and in URLs.\n"
    yield "\n| section | old | now |\n|---|---|---|\n"
    for place, name in SETTINGS.items():
        section = ".".join("NAME" if part == ANY else str(part) for part in place[:-1]).replace(
            "routes.NAME", "routes[]"
        )
        yield f"| `{section}` | `{place[-1]}` | `{name}` |\n"


def _section(model: type[BaseModel], place: str, title: str) -> Iterator[str]:
    yield f"\n{title}\n\n{getdoc(model)}\n\n| setting | type | default | |\n|---|---|---|---|\n"
    inner: list[tuple[str, type[BaseModel]]] = []
    for field, info in model.model_fields.items():
        name = info.alias or field
        if (below := _model(info)) is not None:
            many = get_origin(info.annotation)
            item = "[]" if many is tuple else ".NAME" if many is dict else ""
            inner.append((f"{place}{name}{item}.", below))
            kind = "list of sections" if many is tuple else "sections by name" if many is dict else "section"
            anchor = inner[-1][0].rstrip(".").replace("[]", "").replace(".", "").lower()
            yield f"| `{name}` | [{kind}](#{anchor}) | | {info.description} |\n"
        else:
            yield f"| `{name}` | {_kind(info)} | {_default(info)} | {info.description} |\n"
    for below_place, below in inner:
        yield from _section(below, below_place, f"### `{below_place.rstrip('.')}`")


def _model(info: FieldInfo) -> type[BaseModel] | None:
    kinds = [info.annotation, *get_args(info.annotation)]
    return next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)


def _kind(info: FieldInfo) -> str:
    if (unit := _unit(info)) is not None:
        return "duration" if unit is parse_duration else "size"
    kind: Any = info.annotation
    options = [k for k in get_args(kind) if k is not type(None)]
    if get_origin(kind) is Literal:
        return " or ".join(f"`{option}`" for option in options if option)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " or ".join(f"`{member.value}`" for member in kind)
    if named := _TYPES.get(kind) or _TYPES.get(get_origin(kind)):
        return named
    return ", or ".join(_TYPES[get_origin(option) or option] for option in options)


def _unit(info: FieldInfo) -> object:
    """The function that reads a duration or size, if it is one; `Bytes | None` hides it one level deeper."""
    metadata = [*info.metadata, *(m for k in get_args(info.annotation) for m in getattr(k, "__metadata__", ()))]
    functions = [m.func for m in metadata if isinstance(m, BeforeValidator)]
    return next((f for f in functions if f in (parse_duration, parse_size)), None)


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if value in (None, "", (), {}):
        return ""
    if (unit := _unit(info)) is not None and value:
        return f"`{_written(value, unit is parse_size)}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{getattr(value, 'value', value)}`"


def _written(value: float, is_size: bool) -> str:
    """8388608 -> 8MiB, 2592000.0 -> 30d"""
    scales = [(2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")] if is_size else [(86400, "d"), (1, "s"), (0.001, "ms")]
    factor, unit = next(((f, u) for f, u in scales if value >= f), scales[-1])
    return f"{value / factor:g}{unit}"


if __name__ == "__main__":
    sys.stdout.write(render_configuration())
