"""SQL in .sql files, as text and as named statements."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

_COMMENTS = re.compile(r"(?:--.*\n)*")


def read_sql(package: str, file: str) -> str:
    """Return the text of a file in the folder `sql` of a package."""
    return Path(*import_module(package).__path__, "sql", file).read_text("utf-8")


def load_statements(package: str, file: str) -> Mapping[str, str]:
    """Return the statements of a file by name. Each begins with a line `-- name: NAME`; comments may follow that line."""
    _, *sections = read_sql(package, file).split("-- name: ")
    named = (section.partition("\n") for section in sections)
    return MappingProxyType({name.strip(): _COMMENTS.sub("", sql, count=1).strip() for name, _, sql in named})
