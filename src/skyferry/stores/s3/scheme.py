"""The URL scheme of S3 and of the services that speak it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from skyferry.clouds.regions import partition
from skyferry.config.schemes import AT_A_CLOUD, StoreProfile, StoreScheme
from skyferry.config.settings import StoreSettings
from skyferry.errors import SkyferryError
from skyferry.model import Provider
from skyferry.regex import compile_lazily
from skyferry.stores.s3.services import AMAZON, SERVICES, UNKNOWN, VERSIONED

if TYPE_CHECKING:
    from skyferry.ports import ObjectStore
    from skyferry.ports.opening import StoreContext
    from skyferry.stores.s3.client import S3Client, S3Options

HOSTS = {  # the service, by the end of the endpoint's host
    "amazonaws.com": AMAZON,
    "amazonaws.com.cn": AMAZON,
    "amazonaws.eu": AMAZON,
    "r2.cloudflarestorage.com": "r2",
    "backblazeb2.com": "b2",
    "storage.googleapis.com": "gcs-interop",
}
_REGION = compile_lazily(r"(?:^|\.)s3(?:-fips)?(?:\.dualstack)?[.-]([a-z]+(?:-[a-z]+)+-\d+)\.")  # in a host of Amazon's
_R2_ACCOUNT = compile_lazily(r"https://[0-9a-f]+\.r2\.cloudflarestorage\.com/?")  # its events name the account


def _complete(settings: StoreSettings, account: str) -> StoreSettings:
    """Add the service that the endpoint's host names."""
    if settings.service:
        return settings
    return settings.model_copy(update={"service": _service_at(settings.endpoint) or UNKNOWN})


def _profile(settings: StoreSettings) -> StoreProfile:
    amazon, service = settings.service == AMAZON, SERVICES[settings.service]
    return StoreProfile(
        provider=Provider.AWS_S3 if amazon else Provider.S3_COMPATIBLE,
        region=_region(settings) if amazon else "",
        names_endpoint=settings.service == "minio" or _R2_ACCOUNT.fullmatch(settings.endpoint) is not None,
        namespace=_partition(settings) if amazon else "",
        tags=service.tags,
        exact_deletes=service.delete_exact,
        unidentified=settings.service == UNKNOWN,
        versioned_service=VERSIONED.get(settings.service, ""),
        event_keys="encoded"
        if settings.event_keys == "auto" and _service_at(settings.endpoint) == AMAZON
        else settings.event_keys,
        queues=frozenset({"sqs"}) if amazon else None,
        push=frozenset({"sns", "s3"}) if amazon else None,
    )


def _service_at(endpoint: str) -> str:
    """Return the service that a host belongs to; "" if it is not known."""
    host = urlsplit(endpoint).hostname or "amazonaws.com"
    return next((name for end, name in HOSTS.items() if f".{host}".endswith(f".{end}")), "")


def _region(settings: StoreSettings) -> str:
    """Return the region, as far as settings or host name it. A server that only behaves like Amazon's has none."""
    if not _service_at(settings.endpoint):
        return ""
    named = _REGION.search(urlsplit(settings.endpoint).hostname or "")
    return settings.region or (named[1] if named else "")


def _partition(settings: StoreSettings) -> str:
    """Return the end of Amazon's domain: bucket names are unique in each partition."""
    domain = urlsplit(settings.endpoint).hostname or partition(settings.region)[1]
    return domain.rpartition("amazonaws")[2] if "amazonaws" in domain else ".com"


def _open(context: StoreContext) -> ObjectStore:
    from skyferry.stores.s3.store import S3Store

    return S3Store(context.name, context.where.url.bucket, context.credentials, _options(context))


async def _identify(context: StoreContext) -> str:
    from skyferry.stores.s3.client import S3Client
    from skyferry.stores.s3.detection import detect_service

    client, service = S3Client(context.name, context.where.url.bucket, context.credentials, _options(context)), ""
    try:
        if context.where.profile.unidentified:
            service = detect_service((await client.send("HEAD", accept=range(300, 600))).headers)
        else:
            service = context.where.settings.service
        if service in VERSIONED and await _may_keep_versions(client):
            service = VERSIONED[service]
        return service
    finally:
        await client.close()


async def _may_keep_versions(client: S3Client) -> bool:
    """Return False if the bucket keeps no versions; True also if it must not be asked."""
    from skyferry.stores.s3.inspection import find_versioning

    try:
        return await find_versioning(client) != "off"
    except SkyferryError:
        return True


def _options(context: StoreContext) -> S3Options:
    from skyferry.stores.s3.client import S3Options

    settings = context.where.settings
    options = S3Options(
        service=settings.service,
        endpoint=settings.endpoint,
        region=settings.region or (context.region if settings.service == AMAZON else ""),
        encryption=settings.encryption,
        kms_key=settings.kms_key,
        requester_pays=settings.requester_pays,
        connections=context.connections,
    )
    return replace(options, read_timeout=min(context.read_timeout, options.read_timeout))


S3 = StoreScheme(
    "s3://BUCKET",
    _open,
    options=frozenset({"endpoint", "event_keys", "identity", "region", "service"}),
    settings=AT_A_CLOUD | {"region", "service", "event_keys", "encryption", "kms_key", "requester_pays"},
    cloud="aws",
    extra="s3",
    needs=("aiohttp", "botocore"),
    providers=(Provider.AWS_S3, Provider.S3_COMPATIBLE),
    complete=_complete,
    profile=_profile,
    identify=_identify,
)
