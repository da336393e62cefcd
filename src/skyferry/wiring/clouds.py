"""Stores at clouds, each with its identity. What needs an extra is imported where it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar, runtime_checkable
from urllib.parse import urlsplit

from skyferry.clouds.azure import SharedKey
from skyferry.clouds.credentials import Provider, fixed
from skyferry.clouds.identity.build import Surroundings, aws_credentials, azure_key, azure_token, google_token
from skyferry.clouds.identity.extras import needs
from skyferry.clouds.identity.policy import require_tls
from skyferry.clouds.regions import region_of
from skyferry.config.identity import IdentitySettings
from skyferry.config.settings import QueueAddress, StoreSettings
from skyferry.config.urls import QueueUrl, StoreUrl, resolved, resolved_queue
from skyferry.errors import ConfigError
from skyferry.ports import EventQueue, ObjectStore


@runtime_checkable
class Closable(Protocol):
    """What holds something open."""

    async def close(self) -> None:
        """Idempotent."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Identities:
    """The identities of one process. Stores that say the same of who we are share one: their cloud can copy between them."""

    _opened: dict[tuple[str, IdentitySettings], Any] = field(default_factory=dict)

    def shared(self, cloud: str, settings: IdentitySettings, make: Callable[[], T]) -> T:
        """The one for these settings; closed with the others, if it is to be closed."""
        key = (cloud, settings)
        if key not in self._opened:
            self._opened[key] = make()
        found: T = self._opened[key]  # the cloud says which type it is
        return found

    async def close(self) -> None:
        """Idempotent."""
        while self._opened:
            _, identity = self._opened.popitem()
            if isinstance(identity, Closable):
                await identity.close()


def cloud_store(settings: StoreSettings, around: Surroundings, identities: Identities, quiet: float) -> ObjectStore:
    """Open a bucket at a cloud, which is reached when it is first used. Raises ConfigError.

    A connection that brings nothing for `quiet` seconds is dead, or earlier where the adapter says so.
    """
    url = StoreUrl.parse(settings.url)
    try:
        settings = resolved(settings)
    except ValueError as error:
        raise ConfigError(str(error), where=around.name) from error
    if settings.endpoint:
        require_tls(settings.endpoint, allow_http=settings.allow_http)
    with needs(url.known.extra, f"{url.scheme}://"):
        return _OPEN[url.scheme](url, settings, around, identities, quiet)


def _s3(
    url: StoreUrl, settings: StoreSettings, around: Surroundings, identities: Identities, quiet: float
) -> ObjectStore:
    from skyferry.stores.s3.client import S3Options
    from skyferry.stores.s3.services import AMAZON
    from skyferry.stores.s3.store import S3Store

    options = S3Options(
        service=settings.service,
        endpoint=settings.endpoint,
        region=settings.region or (region_of(around.env) if settings.service == AMAZON else ""),
        encryption=settings.encryption,
        kms_key=settings.kms_key,
        requester_pays=settings.requester_pays,
    )
    who = settings.identity
    credentials = identities.shared("aws", who, lambda: aws_credentials(who, around))
    return S3Store(
        around.name, url.bucket, credentials, replace(options, read_timeout=min(quiet, options.read_timeout))
    )


def _gcs(
    url: StoreUrl, settings: StoreSettings, around: Surroundings, identities: Identities, quiet: float
) -> ObjectStore:
    from skyferry.stores.gcs.client import GcsOptions
    from skyferry.stores.gcs.store import GcsStore

    options = GcsOptions(settings.endpoint, settings.kms_key, settings.billing_project, settings.large_upload_mode)
    who = settings.identity
    token = identities.shared("google", who, lambda: google_token(who, around))
    return GcsStore(around.name, url.bucket, token, replace(options, read_timeout=min(quiet, options.read_timeout)))


def _azure(
    url: StoreUrl, settings: StoreSettings, around: Surroundings, identities: Identities, quiet: float
) -> ObjectStore:
    from skyferry.stores.azure.client import AzureOptions
    from skyferry.stores.azure.store import AzureStore

    options = AzureOptions(settings.endpoint, settings.encryption_scope, settings.hierarchical)
    credential = _at_azure(url.account or account_of(settings.endpoint), settings.identity, around, identities)
    return AzureStore(
        around.name, url.bucket, replace(options, read_timeout=min(quiet, options.read_timeout)), credential
    )


def _at_azure(
    account: str, who: IdentitySettings, around: Surroundings, identities: Identities
) -> Provider[str | SharedKey]:
    """Who we are to a storage account, its blobs and its queues."""

    def credential() -> Provider[str | SharedKey]:
        if who.kind == "static":
            return azure_key(who, around, account)
        return fixed("") if who.kind == "anonymous" else azure_token(who, around)

    return identities.shared(f"azure {account}", who, credential)


def cloud_queue(settings: QueueAddress, around: Surroundings, identities: Identities) -> EventQueue:
    """The adapter for a queue at a cloud, which is reached when it is first used. Raises ConfigError."""
    url = QueueUrl.parse(settings.url)
    try:
        settings = resolved_queue(settings)
    except ValueError as error:
        raise ConfigError(str(error), where=around.name) from error
    if settings.endpoint:
        require_tls(settings.endpoint, allow_http=settings.allow_http)
    with needs(url.known.extra, f"{url.scheme}://"):
        return _QUEUES[url.scheme](url, settings, around, identities)


def _sqs(url: QueueUrl, settings: QueueAddress, around: Surroundings, identities: Identities) -> EventQueue:
    from skyferry.queues.sqs.client import SqsOptions
    from skyferry.queues.sqs.queue import SqsQueue

    region = settings.region or region_of(around.env) or "us-east-1"
    options = SqsOptions(settings.endpoint, region, url.account, max(1, round(settings.lease)))
    who = settings.identity
    credentials = identities.shared("aws", who, lambda: aws_credentials(who, around))
    return SqsQueue(around.name, url.queue, credentials, options, around.clock)


def _pubsub(url: QueueUrl, settings: QueueAddress, around: Surroundings, identities: Identities) -> EventQueue:
    from skyferry.queues.pubsub.client import PubSubOptions
    from skyferry.queues.pubsub.queue import PubSubQueue

    topic = url.topic(settings.topic) if settings.topic else ""
    options = PubSubOptions(topic=topic, endpoint=settings.endpoint, lease=settings.lease)
    who = settings.identity
    token = identities.shared("google", who, lambda: google_token(who, around))
    location = f"projects/{url.account}/subscriptions/{url.queue}"
    return PubSubQueue(around.name, location, token, options, around.clock)


def _azq(url: QueueUrl, settings: QueueAddress, around: Surroundings, identities: Identities) -> EventQueue:
    from skyferry.queues.azure.queue import AzureQueue, AzureQueueOptions

    credential = _at_azure(url.account or account_of(settings.endpoint), settings.identity, around, identities)
    options = AzureQueueOptions(settings.endpoint, settings.lease)
    return AzureQueue(around.name, url.queue, credential, options, around.clock)


def account_of(endpoint: str) -> str:
    """The storage account that an endpoint is of: its first path segment at an emulator, else the first part of its host."""
    parts = urlsplit(endpoint)
    return parts.path.strip("/").partition("/")[0] or (parts.hostname or "").partition(".")[0]


_OPEN = {"s3": _s3, "gs": _gcs, "az": _azure}
_QUEUES = {"sqs": _sqs, "pubsub": _pubsub, "azq": _azq}
