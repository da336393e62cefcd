"""The configuration file: `--config`, otherwise SKYFERRY_CONFIG, otherwise `skyferry.yaml` or `skyferry.yml` in this folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from skyferry.errors import ConfigError
from skyferry.frozen import dataclass

VARIABLE = "SKYFERRY_CONFIG"
NAMES = ("skyferry.yaml", "skyferry.yml")


@dataclass(frozen=True, slots=True)
class ConfigSource:
    """The file that a command uses, and the reason."""

    file: Path | None = None  # None = the embedded default
    reason: str = f"no --config, no {VARIABLE}, and no {NAMES[0]} in this folder"

    def __str__(self) -> str:
        return f"{self.file or 'the embedded default'} ({self.reason})"


def find_config(given: Path | None, environ: Mapping[str, str], folder: Path = Path()) -> ConfigSource:
    """Return the configuration file of a command.

    Raises ConfigError if SKYFERRY_CONFIG names no file, if two files compete, or if what has the name in the folder is no file.
    """
    if given is not None:
        return ConfigSource(given, "--config")
    if named := environ.get(VARIABLE, "").strip():
        if not Path(named).is_file():
            reason = "is not a file" if Path(named).exists() else "does not exist"
            raise ConfigError(
                f"the configuration file {reason}", where=f"{VARIABLE}={named}", hint="correct or unset the variable"
            )
        return ConfigSource(Path(named), VARIABLE)
    found = [folder / name for name in NAMES if os.path.lexists(folder / name)]
    for path in found:
        if not path.is_file():
            raise _explain_not_file(path)
    if len(found) > 1:
        raise ConfigError(
            f"this folder has both {NAMES[0]} and {NAMES[1]}", hint="remove one of them, or choose one with --config"
        )
    return ConfigSource(found[0], "found in this folder") if found else ConfigSource()


def _explain_not_file(path: Path) -> ConfigError:
    """Return the error of a name in the folder that would otherwise be ignored, and the embedded default used."""
    target = os.readlink(path) if path.is_symlink() else ""
    reason = (
        "is a folder" if path.is_dir() else f"is a link to {target}, which is no file" if target else "is not a file"
    )
    hint = "correct or remove it, or name another file with --config"
    return ConfigError(f"the configuration file {reason}", where=str(path), hint=hint)
