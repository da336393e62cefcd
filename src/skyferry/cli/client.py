"""Asks a running service over HTTP, as `--url` says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from skyferry.errors import ConfigError, NotFound, ServiceUnreachable, SkyferryError

if TYPE_CHECKING:
    from skyferry.config.settings import ServerSettings
    from skyferry.server.models import Submissions

PATIENCE = 10.0  # seconds until a service that says nothing counts as unreachable


def get(url: str, path: str, server: ServerSettings, patience: float = PATIENCE, workspace: Path | None = None) -> Any:
    """The JSON at `path`. Raises ServiceUnreachable, or SkyferryError with what the service says.

    Where no token is configured, a service of this machine gets that of the `workspace`.
    """
    return _ask(Request(_join(url, path)), server, patience, workspace)  # noqa: S310 - the scheme is checked


def post(url: str, path: str, body: bytes, server: ServerSettings, workspace: Path | None = None) -> Any:
    """The answer to a JSON body."""
    request = Request(_join(url, path), body, {"Content-Type": "application/json"})  # noqa: S310 - as above
    return _ask(request, server, PATIENCE, workspace)


def submit(url: str, bodies: Sequence[bytes], server: ServerSettings, workspace: Path | None = None) -> Submissions:
    """What the service makes of these events."""
    from skyferry.server.models import Submissions

    return Submissions.model_validate(post(url, "/v1/events", b"[" + b",".join(bodies) + b"]", server, workspace))


def _join(url: str, path: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ConfigError("is no http:// or https:// URL", where=f"--url {url}")
    return url.rstrip("/") + path


def _ask(request: Request, server: ServerSettings, patience: float, workspace: Path | None) -> Any:
    import orjson

    from skyferry.server.access_control import is_loopback, read_token

    own = is_loopback(urlsplit(request.full_url).hostname or "")  # then no proxy is asked, nor told the token
    opener = build_opener(ProxyHandler({})) if own else build_opener()
    if token := read_token(server) or (_own_token(request.full_url, workspace) if workspace and own else ""):
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with opener.open(request, timeout=patience) as answer:
            return orjson.loads(answer.read())
    except HTTPError as error:
        raise _refused(request.full_url, error) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise ServiceUnreachable(
            str(reason), where=request.full_url, hint="is it running there? `skyferry run`"
        ) from error


def _own_token(url: str, workspace: Path) -> str:
    """Return the workspace's token, "" if there is none, or if another user listens there: anybody may while no service does."""
    import os
    import socket

    from skyferry.server.connections.peer import find_listening_user
    from skyferry.server.workspace_token import find_token

    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        trusted = {None, os.getuid(), workspace.stat().st_uid}
        return (
            find_token(workspace)
            if {find_listening_user((str(each[4][0]), int(each[4][1]))) for each in found} <= trusted
            else ""
        )
    except (OSError, ValueError):
        return ""


def _refused(url: str, error: HTTPError) -> SkyferryError:
    """What the service says is wrong (RFC 9457)."""
    import orjson

    try:
        problem = orjson.loads(error.read())
        message = str(problem.get("detail") or problem.get("title") or error)
    except (ValueError, AttributeError):
        message = str(error)
    if error.code in (401, 403):
        return ConfigError(
            message,
            where=url,
            hint="the token is SKYFERRY_SERVER__TOKEN, server.token_file, or server.token in the workspace",
        )
    kind = NotFound if error.code == 404 else ServiceUnreachable if error.code >= 500 else SkyferryError
    return kind(message, where=url)
