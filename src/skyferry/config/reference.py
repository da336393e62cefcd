"""`docs/reference/configuration.md`, from the settings: `python -m skyferry.config.reference > PAGE`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from inspect import getdoc
from pathlib import Path

from skyferry.config.reading.renamed import ANY, SETTINGS
from skyferry.config.sections.kinds import Duration, Kind, Many, NamedValues, Size
from skyferry.config.sections.section import Section, Setting, find_section
from skyferry.config.settings import Settings

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


def _section(section: type[Section], place: str, title: str) -> Iterator[str]:
    yield f"\n{title}\n\n{getdoc(section)}\n\n| setting | type | default | |\n|---|---|---|---|\n"
    inner: list[tuple[str, type[Section]]] = []
    for field, declared in section.model_fields.items():
        name, kind = declared.alias or field, section.find_kinds()[field]
        if (below := find_section(kind)) is not None:
            item = "[]" if isinstance(kind, Many) else ".NAME" if isinstance(kind, NamedValues) else ""
            inner.append((f"{place}{name}{item}.", below))
            shown = "list of sections" if isinstance(kind, Many) else "sections by name" if item else "section"
            anchor = inner[-1][0].rstrip(".").replace("[]", "").replace(".", "").lower()
            yield f"| `{name}` | [{shown}](#{anchor}) | | {declared.description} |\n"
        else:
            yield f"| `{name}` | {kind.title} | {_default(declared, kind)} | {declared.description} |\n"
    for below_place, below in inner:
        yield from _section(below, below_place, f"### `{below_place.rstrip('.')}`")


def _default(declared: Setting, kind: Kind) -> str:
    if declared.required:
        return "required"
    value = declared.make_default()
    if value in (None, "", (), {}):
        return ""
    if isinstance(kind, Duration | Size) and value:
        return f"`{_written(value, isinstance(kind, Size))}`"
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
