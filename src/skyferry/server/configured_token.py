"""The configured bearer token, and addresses that need none. Imports no framework: clients use it too."""

from __future__ import annotations

import ipaddress

from skyferry.config.settings import ServerSettings
from skyferry.errors import ConfigError


def read_token(settings: ServerSettings) -> str:
    """Return the configured bearer token; "" = none. Raises ConfigError."""
    if settings.token and settings.token_file:
        raise ConfigError("`token` and `token_file` are both set", where="server", hint="remove one of them")
    if settings.token:
        token = settings.token.reveal().strip()
    elif settings.token_file:
        try:
            token = settings.token_file.read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            raise ConfigError(f"the token file cannot be read: {error}", where="server.token_file") from error
    else:
        return ""
    if not token or not token.isascii() or not token.isprintable():
        raise ConfigError("the token is empty or contains characters other than printable ASCII", where="server")
    return token


def is_loopback(host: str) -> bool:
    """Return True if `host` can mean only this machine. Names other than localhost may resolve to any address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
