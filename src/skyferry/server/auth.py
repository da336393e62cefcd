"""Who may talk to the server: a bearer token, or else only programs of this machine, and no web page through them."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from urllib.parse import urlsplit

from skyferry.config.settings import ServerSettings
from skyferry.errors import ConfigError
from skyferry.identity.files import FileSecret
from skyferry.server.problems import ApiError

OPEN = frozenset({"/health", "/ready"})  # need no token: probes have none
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

    def __init__(self, token: str | FileSecret[str]) -> None:
        """`token` may be one that a file holds; "" = none."""
        self._file = token if isinstance(token, FileSecret) else None
        self._expected = b"" if self._file else _header(str(token))
        self._readable = True  # the file

    async def refresh(self) -> None:
        """Take up what the token's file holds now. While it holds no token, no request is let in that needs one."""
        if self._file is not None:
            try:
                self._expected, self._readable = _header(await self._file.get()), True
            except ConfigError:
                self._readable = False

    def check(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> bool:
        """With a token: it must be there. Without: the request must come from this machine, and not from a web page.

        Whether it is of somebody who may know everything, and not only of one whom an open path lets in.
        """
        if not self._readable:
            if path in OPEN:
                return False
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "The file of the server's token holds no token now: no request is let in.",
                hint="Put the token into the file that server.token_file names.",
            )
        if not self._expected:
            _check_local(method, headers)
            return True
        given = headers.get(b"authorization", b"")
        scheme, _, token = given.partition(b" ")
        known = hmac.compare_digest(scheme.lower() + b" " + token.strip(), self._expected)
        if not known and path not in OPEN:
            raise ApiError(
                HTTPStatus.UNAUTHORIZED,
                "A valid bearer token is needed." if given else "A bearer token is needed.",
                hint="send the header Authorization: Bearer TOKEN",
                headers={"WWW-Authenticate": 'Bearer realm="skyferry"'},
            )
        return known


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
