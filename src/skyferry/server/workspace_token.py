"""The token of the workspace: for a server on loopback without a configured token."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

FILE = "server.token"  # in the workspace, readable only by its owner
_BYTES = 32


def find_token(workspace: Path) -> str:
    """Return the token of the workspace; "" if it is missing, or if others than its owner could read or write it."""
    try:
        descriptor = os.open(workspace / FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    with os.fdopen(descriptor, encoding="ascii", errors="replace") as file:
        found, owners = os.fstat(descriptor), (os.geteuid(), workspace.stat().st_uid)
        private = stat.S_ISREG(found.st_mode) and found.st_uid in owners and not found.st_mode & 0o077
        text = file.read(4096).strip() if private else ""
    return text if len(text) >= _BYTES else ""


def ensure_token(workspace: Path) -> str:
    """Return the token of the workspace, and create it if it is missing; "" where it cannot be written.

    A token that others could read or write is replaced. Processes that start together get the same token.
    """
    if found := find_token(workspace):
        return found
    file, new = workspace / FILE, workspace / f"{FILE}.{secrets.token_hex(4)}"
    try:
        workspace.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as made:
            made.write(secrets.token_urlsafe(_BYTES) + "\n")
        try:
            if os.path.lexists(file) and not find_token(workspace):
                os.replace(new, file)
            else:
                os.link(new, file)
        finally:
            new.unlink(missing_ok=True)
    except FileExistsError:  # another process was faster
        pass
    except OSError:
        return ""
    return find_token(workspace)
