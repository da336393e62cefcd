"""Tokens of clouds as the password of PostgreSQL: Amazon RDS and Aurora, Cloud SQL, Azure Database.

Each new connection asks for one. An open connection outlives its token.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote, urlsplit

from skyferry.clouds.credentials import S3Credentials, TokenProvider
from skyferry.clouds.identity.build import IdentityContext, aws_credentials, azure_token, google_token
from skyferry.clouds.identity.extras import require_extra
from skyferry.clouds.identity.refreshing import RefreshingCredentials
from skyferry.clouds.regions import region_of
from skyferry.config.identity import IdentitySettings
from skyferry.config.servers.address import ServerAddress
from skyferry.errors import ConfigError
from skyferry.frozen import dataclass

CLOUD_SQL = (
    "https://www.googleapis.com/auth/sqlservice.login",
)  # https://cloud.google.com/sql/docs/postgres/iam-logins
AZURE = "https://ossrdbms-aad.database.windows.net/.default"  # https://learn.microsoft.com/azure/postgresql/
SERVICE = "rds-db"
LIFETIME = 900  # seconds: https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html
_RDS_HOST = re.compile(r"\.([a-z]+(?:-[a-z]+)+-\d+)\.rds\.amazonaws\.com(?:\.cn)?$")


@dataclass(frozen=True, slots=True)
class RdsTarget:
    """The database that a token of RDS is for."""

    host: str  # as RDS names it, not an alias: it is signed
    port: int
    user: str
    region: str


class RdsTokens:
    """A `TokenProvider` of IAM tokens for one database: requests to connect, signed with the credentials of that moment."""

    def __init__(self, credentials: RefreshingCredentials[S3Credentials], target: RdsTarget) -> None:
        """Take the credentials over."""
        self._credentials, self._target = credentials, target

    async def __call__(self, *, stale: str = "") -> str:
        return sign_rds_token(await self._credentials(stale=_find_key(stale)), self._target)

    async def close(self) -> None:
        """Close the credentials. Idempotent."""
        await self._credentials.close()


def database_token(settings: IdentitySettings, around: IdentityContext, server: ServerAddress) -> TokenProvider:
    """Return the tokens of `identity.login`, by the identity that the other settings choose. Raises ConfigError."""
    if not server.user:
        raise ConfigError("the URL names no user", where=around.name, hint="Add the user: postgresql://USER@HOST/…")
    match settings.login:
        case "google":
            return google_token(settings, around, CLOUD_SQL)
        case "azure":
            return azure_token(settings, around, AZURE)
    if len(server.hosts) > 1:
        hint = "Name the endpoint of the cluster, which follows a failover."
        raise ConfigError("a token of RDS is for one host, and the URL has several", where=around.name, hint=hint)
    [(host, port)] = server.hosts
    found = _RDS_HOST.search(host)
    region = found[1] if found else settings.region or region_of(around.env)
    if not region:
        hint = "Set identity.region, or use the endpoint that RDS gives the database."
        raise ConfigError(f"the region of {host} is not known", where=around.name, hint=hint)
    return RdsTokens(aws_credentials(settings, around), RdsTarget(host, port, server.user, region))


def sign_rds_token(credentials: S3Credentials, target: RdsTarget) -> str:
    """Return a presigned request to connect, without its scheme. It is never sent: RDS checks it as the password."""
    with require_extra("s3", "identity.login: aws"):
        from botocore.auth import SigV4QueryAuth  # type: ignore[import-untyped]  # no stubs are published with it
        from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]  # as above
        from botocore.credentials import Credentials  # type: ignore[import-untyped]  # as above
    url = f"https://{target.host}:{target.port}/?Action=connect&DBUser={quote(target.user, safe='')}"
    request = AWSRequest("GET", url)
    keys = Credentials(credentials.access_key, credentials.secret_key, credentials.token or None)
    SigV4QueryAuth(keys, SERVICE, target.region, expires=LIFETIME).add_auth(request)
    return str(request.url).removeprefix("https://")


def _find_key(token: str) -> str:
    """Return the access key that signed a token; "" without a token."""
    return parse_qs(urlsplit(f"https://{token}").query).get("X-Amz-Credential", [""])[0].partition("/")[0]
