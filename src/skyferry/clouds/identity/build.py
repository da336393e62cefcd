"""Make providers of credentials from `IdentitySettings`. The caller closes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import TypeVar

from skyferry.clouds.azure import SharedKey
from skyferry.clouds.credentials import S3Credentials, read_secret
from skyferry.clouds.identity import aws, azure, google
from skyferry.clouds.identity import token_sources as sources
from skyferry.clouds.identity.files import FileWatch
from skyferry.clouds.identity.policy import require_tls
from skyferry.clouds.identity.refreshing import IssuedCredentials, Obtain, RefreshingCredentials
from skyferry.clouds.regions import region_of
from skyferry.config.identity import IdentitySettings
from skyferry.errors import ConfigError, SkyferryError
from skyferry.frozen import dataclass
from skyferry.ports import Clock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class IdentityContext:
    """The context of an identity."""

    name: str  # of the store or queue, for errors
    clock: Clock
    env: Mapping[str, str] = field(repr=False)
    failed: Callable[[SkyferryError], None] = lambda error: None  # called with the error of each failed refresh

    def renewing(self, obtain: Obtain[T], files: FileWatch | None = None) -> RefreshingCredentials[T]:
        """Return a provider that obtains credentials, and again when `files` have changed."""
        outdated = files.outdated if files else None
        return RefreshingCredentials(self.name, obtain, self.clock, failed=self.failed, outdated=outdated)

    def reread(self, read: Callable[[], T], name: Callable[[T], str], *paths: Path | None) -> RefreshingCredentials[T]:
        """Return a provider that reads credentials from files.

        The first read is immediate, for a missing secret is a fault of the configuration. Further reads follow when the files
        have changed, or when a service rejects the credentials.
        """
        files = FileWatch([path for path in paths if path])
        read()

        def look() -> IssuedCredentials[T]:
            stamp = files.stamp()
            found = read()
            files.read(stamp)
            return IssuedCredentials(found, name(found))

        async def obtain() -> IssuedCredentials[T]:
            return await asyncio.to_thread(look)

        return self.renewing(obtain, files if any(paths) else None)


def aws_credentials(settings: IdentitySettings, around: IdentityContext) -> RefreshingCredentials[S3Credentials]:
    """Return credentials for S3, SQS and compatible services. Raises ConfigError."""
    check_token_endpoints(settings, around.env)
    if settings.kind == "anonymous":
        raise ConfigError("anonymous is no identity at S3", where=around.name, hint="set identity.kind: static or auto")
    if settings.kind == "static":
        read = partial(_static_key, settings, around.env)
        return around.reread(read, lambda key: key.access_key, settings.key_file, settings.secret_file)
    return around.renewing(_aws(settings, around))


def google_token(
    settings: IdentitySettings, around: IdentityContext, scopes: tuple[str, ...] = google.SCOPES
) -> RefreshingCredentials[str]:
    """Return bearer tokens for Cloud Storage and Pub/Sub. Raises ConfigError."""
    check_token_endpoints(settings, around.env)
    if settings.kind == "anonymous":
        return around.renewing(_anonymous)
    if settings.kind == "static":
        if settings.secret_file is None:
            raise ConfigError("static at Google needs identity.secret_file, a service account's key", where=around.name)
        files = FileWatch([settings.secret_file])
        return around.renewing(_after(files, google.service_account_key(settings.secret_file, scopes)), files)
    if settings.kind in ("auto", "sdk"):
        accept_keys = settings.kind == "sdk"
        return around.renewing(google.default_credentials(around.env, scopes, accept_keys=accept_keys))
    pool = _pool(settings, around.name)
    if settings.token == "aws" and not settings.audience:  # noqa: S105 - no secret
        _check_aws(settings, around.env)
        signed = aws.sign_identity(aws.botocore_chain(), pool.resource, _region(settings, around.env))
        return around.renewing(google.exchange_at_google(pool, signed, google.AWS4, scopes))
    source = _source(settings, around, settings.audience or pool.audience)
    return around.renewing(google.exchange_at_google(pool, source, google.JWT, scopes))


def azure_token(
    settings: IdentitySettings, around: IdentityContext, scope: str = azure.STORAGE
) -> RefreshingCredentials[str]:
    """Return bearer tokens for Blob and Queue Storage. Raises ConfigError. For identity.kind static see `azure_key`."""
    check_token_endpoints(settings, around.env)
    if settings.kind in ("anonymous", "static"):
        raise ConfigError(
            f"{settings.kind} is no token", where=around.name, hint="set identity.kind: auto or federated"
        )
    if settings.kind == "federated":
        application = azure.federated_application(settings.tenant_id, settings.client_id, around.env, settings.endpoint)
        source = _source(settings, around, settings.audience or azure.AUDIENCE)
        return around.renewing(azure.exchange_at_entra(application, source, scope))
    found = azure.workload_identity(around.env, settings.endpoint)
    if found:
        return around.renewing(azure.exchange_at_entra(*found, scope))
    if settings.kind == "sdk":
        return around.renewing(azure.default_credential(around.env, scope))
    return around.renewing(azure.machine_identity(settings.client_id or around.env.get("AZURE_CLIENT_ID", ""), scope))


def azure_key(settings: IdentitySettings, around: IdentityContext, account: str) -> RefreshingCredentials[SharedKey]:
    """Return the shared key of a storage account, for identity.kind static. Raises ConfigError."""

    def read() -> SharedKey:
        name = settings.secret_env or "AZURE_STORAGE_KEY"
        return SharedKey(account, read_secret(around.env, name, settings.secret_file, "account key"))

    return around.reread(read, lambda key: key.key, settings.secret_file)


def cloudflare_token(settings: IdentitySettings, around: IdentityContext) -> RefreshingCredentials[str]:
    """Return the API token for Cloudflare, for identity.kind static. Raises ConfigError for any other kind."""
    if settings.kind != "static":
        hint = "Set identity: {kind: static, secret_file: FILE}, or put the token into CLOUDFLARE_API_TOKEN."
        raise ConfigError(
            f"{settings.kind} is no identity at Cloudflare, which has API tokens only", where=around.name, hint=hint
        )

    def read() -> str:
        return read_secret(around.env, settings.secret_env or "CLOUDFLARE_API_TOKEN", settings.secret_file, "API token")

    return around.reread(read, lambda token: token, settings.secret_file)


def server_secret(settings: IdentitySettings, around: IdentityContext, variable: str) -> RefreshingCredentials[str]:
    """Return the password of a server of one's own; "" without one. Raises ConfigError for a kind that no server has.

    `variable` is the name of the environment variable that has it by default.
    """
    if settings.kind not in ("auto", "static", "anonymous"):
        hint = f"Set identity: {{kind: static, secret_file: FILE}}, or put the password into {variable}."
        raise ConfigError(f"{settings.kind} is no identity there", where=around.name, hint=hint)
    name = settings.secret_env or variable
    if settings.kind == "anonymous" or (
        settings.kind == "auto" and settings.secret_file is None and not around.env.get(name, "").strip()
    ):
        return around.renewing(_anonymous)

    def read() -> str:
        return read_secret(around.env, name, settings.secret_file, "password")

    return around.reread(read, lambda secret: secret, settings.secret_file)


def check_token_endpoints(settings: IdentitySettings, env: Mapping[str, str]) -> None:
    """Raise ConfigError for an endpoint without TLS."""
    named = (env.get("AWS_ENDPOINT_URL_STS", ""), env.get("AZURE_AUTHORITY_HOST", ""))
    for url in (settings.endpoint, settings.iam_endpoint, settings.token_url, *named):
        if url:
            require_tls(url, allow_http=settings.allow_http)


def _check_aws(settings: IdentitySettings, env: Mapping[str, str]) -> None:
    """Raise ConfigError where Amazon's library would send tokens to an endpoint without TLS: it reads this by itself."""
    if url := env.get("AWS_ENDPOINT_URL", ""):
        require_tls(url, allow_http=settings.allow_http)


def _aws(settings: IdentitySettings, around: IdentityContext) -> Obtain[S3Credentials]:
    _check_aws(settings, around.env)
    if settings.kind in ("auto", "sdk"):
        return aws.botocore_chain(accept_keys=settings.kind == "sdk")
    if not settings.role_arn:
        raise ConfigError("a federated identity at AWS needs identity.role_arn", where=around.name)
    role = aws.AssumedRole(
        arn=settings.role_arn,
        session_name=settings.session_name,
        lifetime=settings.lifetime,
        region=_region(settings, around.env),
        endpoint=settings.endpoint,
    )
    return aws.assume_role(role, _source(settings, around, settings.audience or "sts.amazonaws.com"))


def _static_key(settings: IdentitySettings, env: Mapping[str, str]) -> S3Credentials:
    key = read_secret(env, settings.key_env, settings.key_file, "access key")
    secret_env = settings.secret_env or "AWS_SECRET_ACCESS_KEY"
    return S3Credentials(key, read_secret(env, secret_env, settings.secret_file, "secret key"))


def _after(files: FileWatch, obtain: Obtain[T]) -> Obtain[T]:
    """Return the same, which also records the state of the files that it read."""

    async def watched() -> IssuedCredentials[T]:
        stamp = await asyncio.to_thread(files.stamp)
        fresh = await obtain()
        files.read(stamp)
        return fresh

    return watched


async def _anonymous() -> IssuedCredentials[str]:
    return IssuedCredentials("", "anonymous")


def _pool(settings: IdentitySettings, name: str) -> google.Pool:
    if not (settings.project and settings.pool and settings.provider):
        hint = "they name a workload identity pool's provider: see docs/how-to/identity.md"
        raise ConfigError(
            "a federated identity at Google needs identity.project, pool and provider", where=name, hint=hint
        )
    return google.Pool(
        project=settings.project,
        pool=settings.pool,
        provider=settings.provider,
        service_account=settings.service_account,
        lifetime=settings.lifetime,
        endpoint=settings.endpoint or google.STS_URL,
        iam_endpoint=settings.iam_endpoint or google.IAM_URL,
    )


def _source(settings: IdentitySettings, around: IdentityContext, audience: str) -> sources.TokenSource:
    """Return the source of the token to exchange."""
    match settings.token:
        case "file":
            return sources.token_from_file(settings.token_file or Path())
        case "url":
            return sources.token_from_url(settings.token_url)
        case "google" if settings.service_account:
            endpoint = settings.iam_endpoint or google.IAM_URL
            return google.id_token(google.default_credentials(around.env), settings.service_account, audience, endpoint)
        case "google":
            return sources.token_from_google(audience, around.env)
        case "aws":
            _check_aws(settings, around.env)
            endpoint = around.env.get("AWS_ENDPOINT_URL_STS", "")
            return aws.token_from_aws(aws.botocore_chain(), audience, _region(settings, around.env), endpoint)
        case "azure":
            return azure.token_from_azure(audience, around.env, settings.client_id)


def _region(settings: IdentitySettings, env: Mapping[str, str]) -> str:
    return settings.region or region_of(env) or "us-east-1"
