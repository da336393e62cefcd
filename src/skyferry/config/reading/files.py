"""Faults of the place where a configuration file should be."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from skyferry.config.reading.faults import ConfigFault

SUFFIXES = (".yaml", ".yml")


def explain_unreadable(file: Path, error: OSError) -> ConfigFault:
    """Return why a file cannot be read, and what to do."""
    if isinstance(error, IsADirectoryError):
        inside = sorted(_list_configs(file))
        hint = f"Name the file in it, such as {inside[0]}." if inside else "Name a file, such as skyferry.yaml."
        return ConfigFault(str(file), "is a folder, not a file", hint)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        from difflib import get_close_matches

        close = get_close_matches(file.name, [path.name for path in _list_configs(file.parent)], 1, cutoff=0.8)
        hint = f"Did you mean {file.with_name(close[0])}?" if close else f"The current folder is {Path.cwd()}."
        return ConfigFault(str(file), "does not exist", hint)
    hint = "Give this user read access to the file and its folders." if isinstance(error, PermissionError) else ""
    return ConfigFault(str(file), f"cannot be read: {error.strerror or error}", hint)


def find_file_in_path(folder: Path) -> Path | None:
    """Return the file that is where a folder, or one above it, should be; None if there is none."""
    found = next((path for path in (folder, *folder.absolute().parents) if os.path.lexists(path)), None)
    return found if found is not None and not found.is_dir() else None


def _list_configs(folder: Path) -> list[Path]:
    with suppress(OSError):
        return [path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file()]
    return []
