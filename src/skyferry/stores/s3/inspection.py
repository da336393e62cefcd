"""Inspection of an S3 bucket. Permissions: s3:ListBucket; for more facts s3:GetBucketVersioning,
s3:GetEncryptionConfiguration and s3:GetBucketNotification.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

from skyferry.clouds.callers import aws_caller, skew
from skyferry.clouds.credentials import S3Provider
from skyferry.clouds.http import HttpResponse
from skyferry.errors import BucketNotFound, StoreError
from skyferry.ports.inspection import BucketFacts, Notice, Unknown, Wrong, await_or_unknown
from skyferry.stores.s3.client import S3Client, S3Options
from skyferry.stores.s3.detection import claims_minio, detect_service
from skyferry.stores.s3.errors import parse_error
from skyferry.stores.s3.services import AMAZON, UNKNOWN, is_same_service

CREATED = ("Put", "Post", "Copy", "CompleteMultipartUpload")  # "Event notification types", Amazon S3 User Guide
DELETED = ("Delete", "DeleteMarkerCreated")
TARGETS = {"Queue": True, "Topic": False, "CloudFunction": False}  # configuration of notifications -> a queue's address


async def inspect(client: S3Client, credentials: S3Provider, options: S3Options) -> BucketFacts:
    """See `InspectableStore`."""
    asked = options.region or options.row.region
    answer = await client.send("HEAD", accept=range(300, 500))
    region = answer.headers.get("x-amz-bucket-region", "")
    if answer.status == 404:
        raise BucketNotFound(where=client.name, hint="create the bucket, or correct its name, endpoint or region")
    wrong = (_elsewhere(region, asked),) if region and asked not in (region, "auto") else ()
    found = detect_service(answer.headers)
    if found and options.service not in (AMAZON, UNKNOWN) and not is_same_service(found, options.service):
        wrong = (*wrong, _another(found, options.service))
    return BucketFacts(
        endpoint=client.root,
        who=await aws_caller(credentials, asked, options.endpoint),
        region=region or Unknown("not reported by the service"),
        service=_service(answer, options.service, found),
        versioning=await await_or_unknown(find_versioning(client), "s3:GetBucketVersioning"),
        encryption=await await_or_unknown(_encryption(client), "s3:GetEncryptionConfiguration"),
        notices=await await_or_unknown(_notices(client), "s3:GetBucketNotification"),
        skew=skew(answer.headers),
        allowed=Unknown("S3 does not report permissions"),
        wrong=wrong,
    )


def _service(answer: HttpResponse, configured: str, found: str) -> str | Unknown:
    """Describe the service, unless it is Amazon's."""
    if configured == AMAZON:
        return ""
    if configured != UNKNOWN or found:
        return found or f"{configured}, by the settings"
    if claims_minio(answer.headers):
        return Unknown(
            "the server says that it is MinIO, but its versions differ, so nothing is relied on; set service: minio, and repeat "
            "the check, which tries what that promises"
        )
    return Unknown("the server does not say what it is, so nothing is relied on; docs/how-to/services.md has the names")


def _another(found: str, configured: str) -> Wrong:
    return Wrong(
        f"the server is {found}, but `service` of the store is {configured}", f"set service: {found}, or remove it"
    )


def _elsewhere(region: str, asked: str) -> Wrong:
    return Wrong(
        f"the bucket is in {region}, but requests are signed for {asked}", f"set the store's region to {region}"
    )


async def find_versioning(client: S3Client) -> str:
    """Return "on", "suspended" or "off"."""
    document = (await client.send("GET", query={"versioning": ""})).xml()
    return {"Enabled": "on", "Suspended": "suspended"}.get(document.findtext("{*}Status", ""), "off")


async def _encryption(client: S3Client) -> str:
    answer = await client.send("GET", query={"encryption": ""}, accept=(404,))
    if answer.status == 404:
        return _none(answer)
    default = answer.xml().find(".//{*}ApplyServerSideEncryptionByDefault")
    if default is None:
        return "none"
    return f"{default.findtext('{*}SSEAlgorithm', '')} {default.findtext('{*}KMSMasterKeyID', '')}".rstrip()


def _none(answer: HttpResponse) -> str:
    if parse_error(answer).code == "ServerSideEncryptionConfigurationNotFoundError":
        return "none"
    raise StoreError("not reported by the service")


async def _notices(client: S3Client) -> tuple[Notice, ...]:
    return tuple(notices((await client.send("GET", query={"notification": ""})).xml()))


def notices(document: ElementTree.Element) -> Iterator[Notice]:
    """Parse a NotificationConfiguration."""
    for kind, direct in TARGETS.items():
        for each in document.iterfind(f"{{*}}{kind}Configuration"):
            events = tuple(event.text or "" for event in each.iterfind("{*}Event"))
            rules = {
                rule.findtext("{*}Name", "").lower(): rule.findtext("{*}Value", "")
                for rule in each.iterfind(".//{*}FilterRule")
            }
            yield Notice(
                target=each.findtext(f"{{*}}{kind}", ""),
                direct=direct,
                created=_all(events, "ObjectCreated", CREATED),
                deleted=_all(events, "ObjectRemoved", DELETED),
                events=events,
                prefix=rules.get("prefix", ""),
                suffix=rules.get("suffix", ""),
            )
    if document.find("{*}EventBridgeConfiguration") is not None:
        yield Notice("EventBridge", direct=False, created=True, deleted=True, events=("all",))


def _all(events: tuple[str, ...], kind: str, ways: tuple[str, ...]) -> bool:
    return f"s3:{kind}:*" in events or all(f"s3:{kind}:{way}" in events for way in ways)
