"""The SDKs that identities may need, each of an extra."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from skyferry.errors import ConfigError


@contextmanager
def require_extra(extra: str, what: str) -> Iterator[None]:
    """Around imports: ConfigError with the command that brings them, where they are missing."""
    try:
        yield
    except ModuleNotFoundError as missing:
        if not extra:
            raise
        raise ConfigError(f"{what} needs {missing.name}", hint=f"pip install 'skyferry[{extra}]'") from missing
