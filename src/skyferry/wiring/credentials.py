"""The credentials of stores and queues, by the cloud that they are at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from skyferry.clouds.identity.extras import require_extra
from skyferry.clouds.identity.policy import require_tls
from skyferry.config.identity import DEFAULT_LOGIN, IdentitySettings
from skyferry.config.servers.address import parse_server
from skyferry.config.settings import LedgerSettings
from skyferry.config.urls import ResolvedQueue, ResolvedStore, Url
from skyferry.frozen import dataclass

if TYPE_CHECKING:
    from skyferry.clouds.identity.build import IdentityContext
    from skyferry.config.schemes import Scheme


@runtime_checkable
class Closable(Protocol):
    """Something with open connections or tasks."""

    async def close(self) -> None:
        """Idempotent."""


@dataclass(frozen=True, slots=True)
class Identities:
    """The identities of one process. Stores with equal settings share one: their cloud can copy between them."""

    _opened: dict[tuple[str, IdentitySettings], Any] = field(default_factory=dict)

    def credentials(self, where: ResolvedStore | ResolvedQueue, around: Callable[[], IdentityContext]) -> Any:
        """Return the provider of credentials for a store or queue; None if it is on this machine. Raises ConfigError."""
        row, settings = where.url.known, where.settings
        if not row.cloud:
            return None
        if settings.endpoint:
            require_tls(settings.endpoint, allow_http=settings.allow_http)
        place = f"azure {where.account}" if row.cloud == "azure" else f"{row.cloud} {row.secret_env}"
        if settings.identity.login != DEFAULT_LOGIN:  # a token is for one server and user
            place += f" {settings.url}"
        key = place, settings.identity
        if key not in self._opened:
            with require_extra(row.extra, f"{where.url.scheme}://"):
                self._opened[key] = _make(row, settings.identity, around(), where.account, settings.url)
        return self._opened[key]

    def ledger_secret(self, url: Url[Any], ledger: LedgerSettings, around: Callable[[], IdentityContext]) -> Any:
        """Return the provider of the password of the ledger's server; None if there is no server. Raises ConfigError."""
        if url.known.cloud != "server":
            return None
        with require_extra(url.known.extra, f"{url.scheme}://"):
            return _make(url.known, ledger.identity, around(), "", ledger.url)

    async def close(self) -> None:
        """Idempotent."""
        while self._opened:
            _, identity = self._opened.popitem()
            if isinstance(identity, Closable):
                await identity.close()


def _make(row: Scheme, identity: IdentitySettings, around: IdentityContext, account: str, url: str) -> Any:
    from skyferry.clouds.credentials import fixed_credentials
    from skyferry.clouds.identity import build  # commands on folders need none of it

    match row.cloud:
        case "aws":
            return build.aws_credentials(identity, around)
        case "google":
            return build.google_token(identity, around)
        case "cloudflare":
            return build.cloudflare_token(identity, around)
        case "azure" if identity.kind == "static":
            return build.azure_key(identity, around, account)
        case "azure":
            return fixed_credentials("") if identity.kind == "anonymous" else build.azure_token(identity, around)
        case "server" if identity.login != DEFAULT_LOGIN and row.token_login:
            from skyferry.clouds.identity.database import database_token
            from skyferry.postgres.address import PORT

            return database_token(identity, around, parse_server(url, PORT, row.form))
        case "server":
            return build.server_secret(identity, around, row.secret_env)
    raise AssertionError(row.cloud)
