"""Stores at clouds, each with its identity. What needs an extra is imported where it is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

from skyferry.config.settings import StoreSettings
from skyferry.config.urls import StoreUrl, resolved
from skyferry.credentials import fixed
from skyferry.errors import ConfigError
from skyferry.identity.build import Surroundings, aws_credentials, azure_key, azure_token, google_token
from skyferry.identity.extras import needs
from skyferry.identity.policy import require_tls
from skyferry.ports import ObjectStore


class Closable(Protocol):
    """What holds something open."""

    async def close(self) -> None:
        """Idempotent."""


C = TypeVar("C", bound=Closable)


@dataclass(frozen=True, slots=True)
class Identities:
    """The identities of one process; each belongs to one store or queue."""

    _opened: list[Closable] = field(default_factory=list)

    def keep(self, identity: C) -> C:
        """The same, closed with the others."""
        self._opened.append(identity)
        return identity

    async def close(self) -> None:
        """Idempotent."""
        while self._opened:
            await self._opened.pop().close()


def cloud_store(settings: StoreSettings, around: Surroundings, identities: Identities) -> ObjectStore:
    """The adapter for a bucket at a cloud, which is reached when it is first used. Raises ConfigError."""
    url = StoreUrl.parse(settings.url)
    try:
        settings = resolved(settings)
    except ValueError as error:
        raise ConfigError(str(error), where=around.name) from error
    if settings.endpoint:
        require_tls(settings.endpoint, allow_http=settings.allow_http)
    with needs(url.known.extra, f"{url.scheme}://"):
        return _OPEN[url.scheme](url, settings, around, identities)


def _s3(url: StoreUrl, settings: StoreSettings, around: Surroundings, identities: Identities) -> ObjectStore:
    from skyferry.stores.s3 import S3Store
    from skyferry.stores.s3_wire import S3Options

    options = S3Options(
        service=settings.service,
        endpoint=settings.endpoint,
        region=settings.region or around.env.get("AWS_REGION", "") * (settings.service == "aws"),
        encryption=settings.encryption,
        kms_key=settings.kms_key,
    )
    credentials = identities.keep(aws_credentials(settings.identity, around))
    return S3Store(around.name, url.bucket, credentials, options)


def _gcs(url: StoreUrl, settings: StoreSettings, around: Surroundings, identities: Identities) -> ObjectStore:
    from skyferry.stores.gcs import GcsStore
    from skyferry.stores.gcs_wire import GcsOptions

    options = GcsOptions(settings.endpoint, settings.kms_key, settings.billing_project)
    return GcsStore(around.name, url.bucket, identities.keep(google_token(settings.identity, around)), options)


def _azure(url: StoreUrl, settings: StoreSettings, around: Surroundings, identities: Identities) -> ObjectStore:
    from skyferry.stores.azure import AzureStore
    from skyferry.stores.azure_auth import AzureProvider, SharedKey
    from skyferry.stores.azure_wire import AzureOptions

    options = AzureOptions(settings.endpoint, settings.encryption_scope, settings.hierarchical)
    credential: AzureProvider
    match settings.identity.kind:
        case "static":
            account = url.account or account_of(settings.endpoint)
            credential = fixed(SharedKey(account, azure_key(settings.identity, around.env)))
        case "anonymous":
            credential = fixed("")
        case _:
            credential = identities.keep(azure_token(settings.identity, around))
    return AzureStore(around.name, url.bucket, options, credential)


def account_of(endpoint: str) -> str:
    """The storage account that an endpoint is of: its first path segment at an emulator, else the first part of its host."""
    parts = urlsplit(endpoint)
    return parts.path.strip("/").partition("/")[0] or (parts.hostname or "").partition(".")[0]


_OPEN = {"s3": _s3, "gs": _gcs, "az": _azure}
