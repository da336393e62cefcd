"""SQL lives in .sql files: statements under `-- name:` lines."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType


def text(file: str) -> str:
    """A whole file of this package."""
    return files(__package__).joinpath(file).read_text("utf-8")


def named(file: str) -> Mapping[str, str]:
    """The statements of a file of this package, by name."""
    _, *sections = text(file).split("-- name: ")
    return MappingProxyType({name.strip(): sql.strip() for name, _, sql in (s.partition("\n") for s in sections)})
