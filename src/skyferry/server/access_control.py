"""Access control: a bearer token, or else only our own user on this machine, protected against other web pages."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from urllib.parse import urlsplit

from skyferry.clouds.identity.files import FileSecret
from skyferry.config.settings import ServerSettings
from skyferry.errors import ConfigError
from skyferry.server.configured_token import is_loopback, read_token
from skyferry.server.problems import ApiError

OPEN = frozenset({"/health", "/ready"})  # admitted without a token: probes have none
PAGES = frozenset({"/", "/docs", "/openapi.json"})  # the description of the program, which is no secret
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def load_token(settings: ServerSettings) -> str | FileSecret[str]:
    """Return the configured bearer token, "" = none. A token from a file is reread when the file changes. Raises ConfigError."""
    read = partial(read_token, settings)
    return FileSecret([settings.token_file], read) if settings.token_file else read()


def check_listen(settings: ServerSettings) -> tuple[str, int]:
    """Return the host and port to listen on. Raises ConfigError if other machines could connect and no token is configured."""
    host, colon, port = settings.listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(
            f"{settings.listen!r} is not HOST:PORT", where="server.listen", hint="use an address such as 127.0.0.1:8080"
        )
    if not is_loopback(host) and not read_token(settings):
        raise ConfigError(
            f"other machines can connect to {host}, but no token is configured",
            where="server.listen",
            hint="set SKYFERRY_SERVER__TOKEN or server.token_file, or listen on 127.0.0.1",
        )
    return host, int(port)


class AccessControl:
    """Admits a request, or raises ApiError."""

    def __init__(self, token: str | FileSecret[str], workspace_token: str | None = None) -> None:
        """Require `token`, "" = none, from every client.

        Without a token only this machine is admitted: our own user, and requests with `workspace_token`; where
        `workspace_token` is None, every user.
        """
        self._token_required, self._own_user_only = bool(token), workspace_token is not None
        self._file = token if isinstance(token, FileSecret) else None
        self._expected = b"" if self._file else _format_header(str(token or workspace_token or ""))
        self._readable = True  # the file

    async def refresh(self) -> None:
        """Reread the token's file. While it contains no token, every request that needs one is rejected."""
        if self._file is not None:
            try:
                self._expected, self._readable = _format_header(await self._file.get()), True
            except ConfigError:
                self._readable = False

    def check(self, method: str, path: str, headers: Mapping[bytes, bytes], peer: Callable[[], bool]) -> bool:
        """Admit a request or raise ApiError. Return False if it was admitted only because its path is open.

        Where a token is required, the request must contain it. Otherwise it must come from this machine, and not from
        another web page; `peer` returns True if our own user sent it.
        """
        if not self._readable:
            if path in OPEN:
                return False
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "The file of the server's token contains no token: every request is rejected.",
                hint="write the token into the file that server.token_file names",
            )
        if not self._token_required:
            _check_local_request(method, headers)
            if not self._own_user_only:
                return True
        given = headers.get(b"authorization", b"")
        if self._matches(given) or (not self._token_required and peer()):
            return True
        if path in OPEN or (not self._token_required and path in PAGES):
            return False
        source = "" if self._token_required else " with the token in the file server.token of the workspace"
        raise ApiError(
            HTTPStatus.UNAUTHORIZED,
            "The bearer token is wrong." if given else "The request contains no bearer token.",
            hint=f"send the header Authorization: Bearer TOKEN{source}",
            headers={"WWW-Authenticate": 'Bearer realm="skyferry"'},
        )

    def _matches(self, given: bytes) -> bool:
        scheme, _, token = given.partition(b" ")
        sent = scheme.lower() + b" " + token.strip()
        return bool(self._expected) and hmac.compare_digest(sent, self._expected)


def _format_header(token: str) -> bytes:
    """Return the expected Authorization header; empty without a token."""
    return f"bearer {token}".encode() if token else b""


def _check_local_request(method: str, headers: Mapping[bytes, bytes]) -> None:
    """Reject requests of foreign web pages: a browser here reaches loopback by DNS rebinding, or cross-origin."""
    host = headers.get(b"host", b"").decode("latin-1")
    if not is_loopback(_parse_hostname(host)):
        raise ApiError(
            HTTPStatus.MISDIRECTED_REQUEST,
            "The Host header is not localhost, and no token is configured.",
            kind="foreign-host",
            hint="use http://localhost:PORT, or configure a token",
        )
    origin = headers.get(b"origin", b"").decode("latin-1")
    if origin and method not in _SAFE and origin not in (f"http://{host}", f"https://{host}"):
        raise ApiError(
            HTTPStatus.FORBIDDEN, "A web page of another origin may not change anything.", kind="foreign-origin"
        )


def _parse_hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
