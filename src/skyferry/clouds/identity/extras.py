"""Imports that need an extra."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from skyferry.errors import ConfigError
from skyferry.extras import install_command


@contextmanager
def require_extra(extra: str, what: str) -> Iterator[None]:
    """Wrap imports: raise ConfigError with the install command if a module of the extra is missing."""
    try:
        yield
    except ModuleNotFoundError as missing:
        if not extra:
            raise
        raise ConfigError(f"{what} needs {missing.name}", hint=install_command(extra)) from missing
