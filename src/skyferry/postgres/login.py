"""Logins at PostgreSQL by tokens of clouds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyferry.config.servers.address import parse_server
from skyferry.postgres.address import PORT

if TYPE_CHECKING:
    from skyferry.clouds.credentials import TokenProvider
    from skyferry.clouds.identity.build import IdentityContext
    from skyferry.config.identity import IdentitySettings


def open_login(url: str, settings: IdentitySettings, around: IdentityContext) -> TokenProvider:
    """Return the tokens of `identity.login` for the server of a URL. Raises ConfigError."""
    from skyferry.clouds.identity.database import database_token

    return database_token(settings, around, parse_server(url, PORT, "postgresql://HOST/DATABASE"))
