"""The marks of stores in provenance, valid on this machine and on others."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

from skyferry.config.settings import Settings
from skyferry.routing.locations import StoreLocation

BOOT = Path("/proc/sys/kernel/random/boot_id")  # differs on each machine, and is the same in all its containers
IDS = (Path("/etc/machine-id"), BOOT)  # the second if the first does not exist, as in containers


def mark_stores(settings: Settings) -> dict[str, str]:
    """Return the marks by name of the store. Raises ValueError for an invalid URL."""
    here = identify_machine()
    return {name: StoreLocation.of(store, settings.workspace).mark(here) for name, store in settings.stores.items()}


def identify_machine() -> str:
    """Return an identifier of this machine, for folders and servers on loopback."""
    for file in IDS:
        with suppress(OSError, UnicodeDecodeError):
            if ident := file.read_text().strip():
                return f"{socket.gethostname()} {ident}"
    return socket.gethostname()


def identify_kernel() -> str:
    """Return an identifier of the running kernel, for device numbers and notifications. It changes with each boot."""
    try:
        return BOOT.read_text("ascii").strip()
    except OSError:  # not Linux
        return socket.gethostname()
