"""The identity at Google Cloud: application default credentials, or a token of another cloud exchanged at Google's STS."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from skyferry.clouds.identity.exchange import (
    TokenRequest,
    make_refusal,
    parse_json,
    read_lifetime,
    read_member,
    request_token,
)
from skyferry.clouds.identity.extras import require_extra
from skyferry.clouds.identity.policy import PREFERRED, accept_long_lived_key
from skyferry.clouds.identity.refreshing import IssuedCredentials, Obtain
from skyferry.clouds.identity.token_sources import METADATA_FLAVOR, TokenSource, google_metadata_url
from skyferry.errors import ConfigError, ConnectionLost
from skyferry.frozen import dataclass

STS = "Google STS"
STS_URL = "https://sts.googleapis.com"
IAM = "Google IAM credentials"
IAM_URL = "https://iamcredentials.googleapis.com"
METADATA = "Google's metadata server"
SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
JWT = "urn:ietf:params:oauth:token-type:jwt"
AWS4 = "urn:ietf:params:aws:token-type:aws4_request"


@dataclass(frozen=True, slots=True)
class Pool:
    """A provider of a workload identity pool, and its endpoints."""

    project: str  # its number
    pool: str
    provider: str
    service_account: str = ""  # e-mail, to be impersonated; "" = the principal itself has the permissions
    lifetime: float = 3600.0  # seconds, of an impersonated service account's tokens
    endpoint: str = STS_URL
    iam_endpoint: str = IAM_URL

    @property
    def resource(self) -> str:
        """The audience of the exchange."""
        return (
            f"//iam.googleapis.com/projects/{self.project}/locations/global"
            f"/workloadIdentityPools/{self.pool}/providers/{self.provider}"
        )

    @property
    def audience(self) -> str:
        """The audience of tokens, unless the provider has other audiences."""
        return f"https:{self.resource}"


def exchange_at_google(pool: Pool, source: TokenSource, kind: str = JWT, scopes: Sequence[str] = SCOPES) -> Obtain[str]:
    """An access token for a token of another cloud, of `kind` JWT or AWS4; of the service account, if there is one.

    https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token
    """

    async def obtain() -> IssuedCredentials[str]:
        token = await source()
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "audience": pool.resource,
            "scope": " ".join(SCOPES if pool.service_account else scopes),
            "subject_token_type": kind,
            "subject_token": token,
        }
        request = TokenRequest(f"{pool.endpoint.rstrip('/')}/v1/token", STS, form=form, secrets=(token,))
        answer = parse_json(await request_token(request), STS)
        federated = IssuedCredentials(
            read_member(answer, "access_token", STS),
            read_member(answer, "access_token", STS),
            life=read_lifetime(answer),
        )
        return await _impersonated(pool, federated.value, scopes) if pool.service_account else federated

    return obtain


async def _impersonated(pool: Pool, token: str, scopes: Sequence[str]) -> IssuedCredentials[str]:
    """https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken"""
    request = TokenRequest(
        f"{_account(pool.iam_endpoint, pool.service_account)}:generateAccessToken",
        IAM,
        json={"scope": list(scopes), "lifetime": f"{round(pool.lifetime)}s"},
        headers={"authorization": f"Bearer {token}"},
        secrets=(token,),
    )
    answer = parse_json(await request_token(request), IAM)
    given, end = read_member(answer, "accessToken", IAM), read_member(answer, "expireTime", IAM)
    return IssuedCredentials(given, given, datetime.fromisoformat(end).timestamp())


def id_token(access: Obtain[str], account: str, audience: str, iam_endpoint: str = IAM_URL) -> TokenSource:
    """Return a source of ID tokens of a service account, which the identity of `access` may impersonate."""

    async def give() -> str:
        token = (await access()).value
        request = TokenRequest(
            f"{_account(iam_endpoint, account)}:generateIdToken",
            IAM,
            json={"audience": audience, "includeEmail": True},
            headers={"authorization": f"Bearer {token}"},
            secrets=(token,),
        )
        return read_member(parse_json(await request_token(request), IAM), "token", IAM)

    return give


def _account(endpoint: str, email: str) -> str:
    return f"{endpoint.rstrip('/')}/v1/projects/-/serviceAccounts/{quote(email, safe='@')}"


def default_credentials(
    env: Mapping[str, str], scopes: Sequence[str] = SCOPES, *, accept_keys: bool = False
) -> Obtain[str]:
    """Application default credentials: GOOGLE_APPLICATION_CREDENTIALS, gcloud's login, the metadata server.

    https://cloud.google.com/docs/authentication/application-default-credentials
    The file may be of an external account (workload identity federation), an impersonated service account or a person;
    the key of a service account is refused, or used with a warning if `accept_keys`.
    """

    async def obtain() -> IssuedCredentials[str]:
        path = await asyncio.to_thread(_default_file, env)
        return (
            await _metadata(env, scopes, accept_keys)
            if path is None
            else await asyncio.to_thread(_of_file, path, scopes, accept_keys)
        )

    return obtain


def service_account_key(path: Path, scopes: Sequence[str] = SCOPES) -> Obtain[str]:
    """Tokens of a service account by its key: long-lived, so only where identity.kind is static."""

    async def obtain() -> IssuedCredentials[str]:
        return await asyncio.to_thread(_of_file, path, scopes, None)

    return obtain


async def _metadata(env: Mapping[str, str], scopes: Sequence[str], person: bool) -> IssuedCredentials[str]:
    url = (
        f"{google_metadata_url(env)}/instance/service-accounts/default/token?scopes={quote(','.join(scopes), safe='')}"
    )
    try:
        answer = parse_json(
            await request_token(TokenRequest(url, METADATA, headers=METADATA_FLAVOR, local=True)), METADATA
        )
    except ConnectionLost as lost:
        login = f"log in ({PREFERRED['google']}), or " if person else ""
        lost.hint = f"this machine has no identity at Google: {login}see docs/how-to/identity.md"
        raise
    given = read_member(answer, "access_token", METADATA)
    return IssuedCredentials(given, given, life=read_lifetime(answer))


def _default_file(env: Mapping[str, str]) -> Path | None:
    """The file of application default credentials, if there is one."""
    named = env.get("GOOGLE_APPLICATION_CREDENTIALS", "")
    if named:
        return Path(named)
    folder = env.get("CLOUDSDK_CONFIG") or f"{env.get('HOME', '')}/.config/gcloud"
    gcloud = Path(folder) / "application_default_credentials.json"
    return gcloud if gcloud.is_file() else None


def _of_file(path: Path, scopes: Sequence[str], accept_keys: bool | None) -> IssuedCredentials[str]:
    """A token by google-auth, of a new object each time: what an old one keeps may be what has just been called expired.

    `accept_keys`: use the key of a service account, with a warning; None = without one, because the settings name it.
    """
    try:
        info = orjson.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"Google's credentials cannot be read: {error.strerror}", where=str(path)) from error
    except orjson.JSONDecodeError:
        raise ConfigError("Google's credentials are not JSON", where=str(path)) from None
    source = info.get("source_credentials") or {}
    if "service_account" in (info.get("type"), source.get("type")) and accept_keys is not None:
        accept_long_lived_key("google", "the key of the service account", accept_keys)
    with require_extra("gcs", "the identity of this machine at Google"):
        from google.auth import exceptions
        from google.auth.transport.requests import Request as Transport
    try:
        credentials = _load(info, scopes)
        credentials.refresh(Transport())
    except exceptions.TransportError as broken:
        raise ConnectionLost(type(broken).__name__, where=str(path)) from broken
    except (exceptions.GoogleAuthError, ValueError) as error:
        raise make_refusal(str(error), str(path), _secrets(info)) from None
    end = credentials.expiry.replace(tzinfo=UTC).timestamp() if credentials.expiry else float("inf")
    return IssuedCredentials(str(credentials.token), str(credentials.token), end)


def _load(info: Mapping[str, Any], scopes: Sequence[str]) -> Any:
    """The object of google-auth. Not by `load_credentials_from_dict`: that asks another service which project it is."""
    from google.auth import aws, identity_pool, impersonated_credentials, pluggable
    from google.oauth2 import credentials as user
    from google.oauth2 import service_account

    kind, source = info.get("type"), info.get("credential_source") or {}
    if kind == "external_account":
        family: Any = identity_pool if "executable" not in source else pluggable
        family = aws if "environment_id" in source else family
        return family.Credentials.from_info(info, scopes=scopes)
    if kind == "authorized_user":
        return user.Credentials.from_authorized_user_info(info)  # type: ignore[no-untyped-call]  # google-auth has no types
    if kind == "impersonated_service_account":
        return impersonated_credentials.Credentials.from_impersonated_service_account_info(info, scopes=scopes)  # type: ignore[no-untyped-call]  # as above
    if kind == "service_account":
        return service_account.Credentials.from_service_account_info(info, scopes=scopes)  # type: ignore[no-untyped-call]  # as above
    raise ValueError(f"credentials of type {kind!r} are not known")


def _secrets(info: Mapping[str, Any]) -> list[str]:
    """Return the secrets, which must not appear in errors."""
    return [str(info[name]) for name in ("private_key", "refresh_token", "client_secret") if info.get(name)]
