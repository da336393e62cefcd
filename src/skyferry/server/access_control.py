"""Who may talk to the server: a bearer token, or else only our own user on this machine, and no web page through them."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from urllib.parse import urlsplit

from skyferry.clouds.identity.files import FileSecret
from skyferry.config.settings import ServerSettings
from skyferry.errors import ConfigError
from skyferry.server.problems import ApiError

OPEN = frozenset({"/health", "/ready"})  # need no token: probes have none
PAGES = frozenset({"/", "/docs", "/openapi.json"})  # describe the program, the same everywhere
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def read_token(settings: ServerSettings) -> str:
    """The configured bearer token; "" = none. Raises ConfigError."""
    if settings.token and settings.token_file:
        raise ConfigError("both a token and a token file are given", where="server", hint="give one")
    if settings.token:
        token = settings.token.get_secret_value().strip()
    elif settings.token_file:
        try:
            token = settings.token_file.read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            raise ConfigError(f"the token file cannot be read: {error}", where="server.token_file") from error
    else:
        return ""
    if not token or not token.isascii() or not token.isprintable():
        raise ConfigError("the token must be printable ASCII and not empty", where="server")
    return token


def token_of(settings: ServerSettings) -> str | FileSecret[str]:
    """The configured bearer token; that of a file follows the file. "" = none. Raises ConfigError."""
    read = partial(read_token, settings)
    return FileSecret([settings.token_file], read) if settings.token_file else read()


def check_listen(settings: ServerSettings) -> tuple[str, int]:
    """Host and port to listen on. Raises ConfigError for another address than loopback without a token."""
    host, colon, port = settings.listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{settings.listen!r} is not HOST:PORT", where="server.listen", hint="e.g. 127.0.0.1:8080")
    if not is_loopback(host) and not read_token(settings):
        raise ConfigError(
            f"{host} can be reached from other machines, and there is no token",
            where="server.listen",
            hint="set SKYFERRY_SERVER__TOKEN or server.token_file, or listen on 127.0.0.1",
        )
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can be meant. Other names than localhost may resolve to anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Access:
    """Lets a request in, or raises ApiError."""

    def __init__(self, token: str | FileSecret[str], own: str | None = None) -> None:
        """Let in by `token`, which a file may hold; "" = none.

        Without one this machine: all of it, or (where `own` is not None) our user, and by that token.
        """
        self._everywhere, self._mine = bool(token), own is not None
        self._file = token if isinstance(token, FileSecret) else None
        self._expected = b"" if self._file else _header(str(token or own or ""))
        self._readable = True  # the file

    async def refresh(self) -> None:
        """Take up what the token's file holds now. While it holds no token, no request is let in that needs one."""
        if self._file is not None:
            try:
                self._expected, self._readable = _header(await self._file.get()), True
            except ConfigError:
                self._readable = False

    def check(self, method: str, path: str, headers: Mapping[bytes, bytes], peer: Callable[[], bool]) -> bool:
        """With a token: it must be there. Without: the request must come from this machine, and not from a web page.

        `peer` finds out whether our own user asks. Return whether the client may know everything, and was not only let in
        by an open path.
        """
        if not self._readable:
            if path in OPEN:
                return False
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "The file of the server's token holds no token now: no request is let in.",
                hint="Put the token into the file that server.token_file names.",
            )
        if not self._everywhere:
            _check_local(method, headers)
            if not self._mine:
                return True
        given = headers.get(b"authorization", b"")
        if self._fits(given) or (not self._everywhere and peer()):
            return True
        if path in OPEN or (not self._everywhere and path in PAGES):
            return False
        place = "TOKEN" if self._everywhere else "TOKEN; it is in the file server.token of the workspace"
        raise ApiError(
            HTTPStatus.UNAUTHORIZED,
            "A valid bearer token is needed." if given else "A bearer token is needed.",
            hint=f"send the header Authorization: Bearer {place}",
            headers={"WWW-Authenticate": 'Bearer realm="skyferry"'},
        )

    def _fits(self, given: bytes) -> bool:
        scheme, _, token = given.partition(b" ")
        sent = scheme.lower() + b" " + token.strip()
        return bool(self._expected) and hmac.compare_digest(sent, self._expected)


def _header(token: str) -> bytes:
    """The Authorization header that is expected; empty without a token."""
    return f"bearer {token}".encode() if token else b""


def _check_local(method: str, headers: Mapping[bytes, bytes]) -> None:
    """A page in a browser of this machine reaches loopback too: by a name of its own (DNS rebinding), or cross-origin."""
    host = headers.get(b"host", b"").decode("latin-1")
    if not is_loopback(_hostname(host)):
        raise ApiError(
            HTTPStatus.MISDIRECTED_REQUEST,
            "Without a token, only requests to localhost are answered.",
            kind="foreign-host",
            hint="use http://localhost:PORT, or configure a token",
        )
    origin = headers.get(b"origin", b"").decode("latin-1")
    if origin and method not in _SAFE and origin not in (f"http://{host}", f"https://{host}"):
        raise ApiError(HTTPStatus.FORBIDDEN, "Other web pages may not do this.", kind="foreign-origin")


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
