"""Azure's storage accounts, from their endpoints. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit


def storage_account(endpoint: str) -> str:
    """Return the account of an endpoint: the first path segment at an emulator, otherwise the first label of the host."""
    parts = urlsplit(endpoint)
    return parts.path.strip("/").partition("/")[0] or (parts.hostname or "").partition(".")[0]


def azure_account(endpoint: str) -> str:
    """Return the account if the host is Azure's own, otherwise "": events may name another account then."""
    name, _, rest = (urlsplit(endpoint).hostname or "").partition(".")
    return name if rest.startswith(("blob.core.", "dfs.core.", "queue.core.")) else ""
