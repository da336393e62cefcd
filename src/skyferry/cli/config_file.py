"""The configuration file: `--config`, otherwise SKYFERRY_CONFIG, otherwise `skyferry.yaml` or `skyferry.yml` in this folder."""

from __future__ import annotations

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
    """Return the configuration file of a command. Raises ConfigError if SKYFERRY_CONFIG names no file, or two files compete."""
    if given is not None:
        return ConfigSource(given, "--config")
    if named := environ.get(VARIABLE, "").strip():
        if not Path(named).is_file():
            reason = "is not a file" if Path(named).exists() else "does not exist"
            raise ConfigError(
                f"the configuration file {reason}", where=f"{VARIABLE}={named}", hint="correct or unset the variable"
            )
        return ConfigSource(Path(named), VARIABLE)
    found = [folder / name for name in NAMES if (folder / name).is_file()]
    if len(found) > 1:
        raise ConfigError(
            f"this folder has both {NAMES[0]} and {NAMES[1]}", hint="remove one of them, or choose one with --config"
        )
    return ConfigSource(found[0], "found in this folder") if found else ConfigSource()
