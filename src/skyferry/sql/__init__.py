"""SQL in .sql files, as text and as named statements."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from skyferry.regex import compile_lazily

_COMMENTS = compile_lazily(r"(?:--.*\n)*")


def read_sql(package: str, file: str) -> str:
    """Return the text of a file in the folder `sql` of a package."""
    return (_find_folder(package) / file).read_text("utf-8")


def read_steps(package: str) -> list[tuple[str, str]]:
    """Return the names and the texts of the files in the folder `sql/schema` of a package."""
    return [(file.name, file.read_text("utf-8")) for file in (_find_folder(package) / "schema").iterdir()]


def _find_folder(package: str) -> Path:
    """Return the folder `sql` of a package. `importlib.resources` would import ten modules at each start."""
    return Path(*import_module(package).__path__, "sql")


def load_statements(package: str, file: str) -> Mapping[str, str]:
    """Return the statements of a file by name. Each begins with a line `-- name: NAME`; comments may follow that line."""
    _, *sections = read_sql(package, file).split("-- name: ")
    named = (section.partition("\n") for section in sections)
    return MappingProxyType({name.strip(): _COMMENTS.sub("", sql, count=1).strip() for name, _, sql in named})
