"""The marks of the stores of a configuration, by which provenance knows them on this machine and on others."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

from skyferry.config.settings import Settings
from skyferry.routing.locations import StoreLocation

IDS = (
    Path("/etc/machine-id"),
    Path("/proc/sys/kernel/random/boot_id"),
)  # the second where there is no first, as in containers


def mark_stores(settings: Settings) -> dict[str, str]:
    """By name of the store. Raises ValueError for a URL that is none."""
    here = identify_machine()
    return {name: StoreLocation.of(store, settings.workspace).mark(here) for name, store in settings.stores.items()}


def identify_machine() -> str:
    """What tells this machine from others: a folder, and a server on loopback, is another on each."""
    for file in IDS:
        with suppress(OSError, UnicodeDecodeError):
            if ident := file.read_text().strip():
                return f"{socket.gethostname()} {ident}"
    return socket.gethostname()
