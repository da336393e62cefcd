"""A client of the HTTP API, for `--url`."""

from __future__ import annotations

from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from skyferry.errors import ConfigError, NotFound, ServiceUnreachable, SkyferryError

if TYPE_CHECKING:
    from skyferry.config.settings import ServerSettings
    from skyferry.server.models import Submissions

PATIENCE = 10.0  # seconds until a silent service counts as unreachable


def get_json(
    url: str, path: str, server: ServerSettings, patience: float = PATIENCE, workspace: Path | None = None
) -> Any:
    """Return the JSON at `path`. Raises ServiceUnreachable, or SkyferryError with the problem that the service reports.

    Without a configured token, a service on this machine receives the token of `workspace`.
    """
    return _send(Request(_join_url(url, path)), server, patience, workspace)  # noqa: S310 - the scheme is checked


def post_json(url: str, path: str, body: bytes, server: ServerSettings, workspace: Path | None = None) -> Any:
    """Send a JSON body, and return the response."""
    request = Request(_join_url(url, path), body, {"Content-Type": "application/json"})  # noqa: S310 - as above
    return _send(request, server, PATIENCE, workspace)


def submit_events(
    url: str, bodies: Sequence[bytes], server: ServerSettings, workspace: Path | None = None
) -> Submissions:
    """Submit events, and return the results."""
    from skyferry.server.models import Submissions

    return Submissions.model_validate(post_json(url, "/v1/events", b"[" + b",".join(bodies) + b"]", server, workspace))


def _join_url(url: str, path: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ConfigError("the URL does not begin with http:// or https://", where=f"--url {url}")
    return url.rstrip("/") + path


def _send(request: Request, server: ServerSettings, patience: float, workspace: Path | None) -> Any:
    import orjson

    from skyferry.server.configured_token import is_loopback, read_token

    own = is_loopback(
        urlsplit(request.full_url).hostname or ""
    )  # no proxy may see the token of a service on this machine
    opener = build_opener(ProxyHandler({})) if own else build_opener()
    if token := read_token(server) or (_find_workspace_token(request.full_url, workspace) if workspace and own else ""):
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with opener.open(request, timeout=patience) as answer:
            return orjson.loads(answer.read())
    except HTTPError as error:
        raise _translate_problem(request.full_url, error) from error
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise ServiceUnreachable(
            str(reason), where=request.full_url, hint="start the service with `skyferry run`, or correct --url"
        ) from error


def _find_workspace_token(url: str, workspace: Path) -> str:
    """Return the token of the workspace; "" if it is missing, or if the program of another user listens at `url`."""
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


def _translate_problem(url: str, error: HTTPError) -> SkyferryError:
    """Translate a problem of the service (RFC 9457)."""
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
            hint="set SKYFERRY_SERVER__TOKEN or server.token_file, or pass the --workspace of the service",
        )
    kind = NotFound if error.code == 404 else ServiceUnreachable if error.code >= 500 else SkyferryError
    return kind(message, where=url)
