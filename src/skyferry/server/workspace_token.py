"""The workspace's own token: for a server on loopback where none is configured."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

FILE = "server.token"  # in the workspace, for its owner alone
_BYTES = 32


def find_token(workspace: Path) -> str:
    """Return the workspace's token, "" if there is none that only its owner could have read or written."""
    try:
        descriptor = os.open(workspace / FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    with os.fdopen(descriptor, encoding="ascii", errors="replace") as file:
        found, owners = os.fstat(descriptor), (os.geteuid(), workspace.stat().st_uid)
        private = stat.S_ISREG(found.st_mode) and found.st_uid in owners and not found.st_mode & 0o077
        text = file.read(4096).strip() if private else ""
    return text if len(text) >= _BYTES else ""


def make_token(workspace: Path) -> str:
    """Return the workspace's token, made if it is not there yet; "" where nothing can be written.

    One that others could read or write is replaced. However many processes begin together, all get the same.
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
