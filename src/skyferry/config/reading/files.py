"""Faults of the place where a configuration file should be."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from skyferry.config.reading.faults import ConfigFault, InvalidYaml

SUFFIXES = (".yaml", ".yml")
LARGEST = 4 * 2**20  # bytes of a configuration file


def read_config(file: Path) -> bytes:
    """Return the content of a file, or of a pipe such as <(COMMAND). Raises OSError, and InvalidYaml for a device or too much."""
    with open(file, "rb", opener=_open_at_once) as opened:
        kind = os.fstat(opened.fileno()).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind)):
            raise InvalidYaml("is a device, not a file", "Name a file, such as skyferry.yaml.", None)
        os.set_blocking(opened.fileno(), True)
        text = opened.read(LARGEST + 1)
    if len(text) > LARGEST:
        hint = "Name a configuration; that of many stores is smaller."
        raise InvalidYaml(f"is larger than {LARGEST // 2**20} MiB", hint, None)
    if not text and stat.S_ISFIFO(kind):
        raise InvalidYaml("is a pipe that nothing writes to", "Begin to write into it first, or name a file.", None)
    return text


def _open_at_once(path: str, flags: int) -> int:
    """Open a file, also a pipe that nothing writes to, for which a blocking call would wait."""
    return os.open(path, flags | os.O_NONBLOCK)


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
