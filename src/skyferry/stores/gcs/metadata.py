"""Between Cloud Storage's object resource and the model: versions, positions, attributes, checksums.

Source: "Objects" of the JSON API reference, https://cloud.google.com/storage/docs/json_api/v1/objects
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from skyferry.clouds.http import HttpResponse
from skyferry.errors import PreconditionFailed, StoreError, Unsupported
from skyferry.model import Attributes, Checksums, ObjectMeta, Position
from skyferry.ports import Precondition

ATTRIBUTES = {  # field of Attributes -> field of the resource
    "content_type": "contentType",
    "content_encoding": "contentEncoding",
    "content_language": "contentLanguage",
    "content_disposition": "contentDisposition",
    "cache_control": "cacheControl",
    "storage_class": "storageClass",
}
FIELDS = ",".join(
    (
        *("name", "size", "generation", "metageneration", "updated", "crc32c", "md5Hash"),
        *("retentionExpirationTime", "eventBasedHold", "metadata", *ATTRIBUTES.values()),
    )
)  # all that we read of a resource: the rest, access lists for one, is not sent
UNTYPED = "application/octet-stream"  # what Cloud Storage calls an object of no type
STANDARD = "STANDARD"  # the storage class that the model calls ""
_PLAIN = re.compile(r"[!-~](?:[ -~]*[!-~])?")  # it is a header too
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


def meta(resource: Mapping[str, Any]) -> ObjectMeta:
    """Of an object resource. Raises StoreError for what is none."""
    try:
        generation = int(resource["generation"])
        return ObjectMeta(
            key=resource["name"],
            size=int(resource.get("size", 0)),
            version=str(generation),
            modified=datetime.fromisoformat(resource["updated"]).timestamp(),
            position=position(generation, int(resource["metageneration"])),
            checksums=Checksums(crc32c=to_hex(resource.get("crc32c", "")), md5=to_hex(resource.get("md5Hash", ""))),
            attributes=attributes(resource),
        )
    except (KeyError, ValueError, TypeError) as broken:
        raise StoreError("the answer is no object resource: is this Cloud Storage's JSON API?") from broken


def position(generation: int, metageneration: int) -> Position:
    """As the parser of notifications has it."""
    return Position("gcs-generation", f"{generation:020d}.{metageneration:020d}")


def ranged(key: str, answer: HttpResponse, start: int, length: int) -> ObjectMeta | None:
    """What the answer to a range says of the whole object; None if its body is not that range. It tells no attributes."""
    headers = answer.headers
    given = _RANGE.fullmatch(headers.get("content-range", ""))
    begin, size = (int(given[1]), int(given[2])) if given else (0, len(answer.body))
    if begin != start or len(answer.body) != min(length, size - start):
        return None
    generation, metageneration = headers.get("x-goog-generation", ""), headers.get("x-goog-metageneration", "")
    at = position(int(generation), int(metageneration)) if generation and metageneration else None
    return ObjectMeta(key=key, size=size, version=generation, modified=0.0, position=at)


def attributes(resource: Mapping[str, Any]) -> Attributes:
    """Of an object resource."""
    found = {field: resource.get(name, "") for field, name in ATTRIBUTES.items()}
    if found["storage_class"] == STANDARD:
        found["storage_class"] = ""
    user = {name.lower(): value for name, value in resource.get("metadata", {}).items()}
    return Attributes(metadata=user, **found)


def resource(key: str, given: Attributes, checksums: Checksums) -> dict[str, Any]:
    """What a write says; the digests make the server refuse a body that differs. Raises Unsupported."""
    found: dict[str, Any] = {name: getattr(given, field) for field, name in ATTRIBUTES.items() if getattr(given, field)}
    if not _PLAIN.fullmatch(found.setdefault("contentType", UNTYPED)):
        raise Unsupported(f"Cloud Storage cannot carry this content type: {given.content_type!r}")
    found["name"] = key
    if given.metadata:
        found["metadata"] = dict(given.metadata)
    if checksums.crc32c:
        found["crc32c"] = to_base64(checksums.crc32c)
    if checksums.md5:
        found["md5Hash"] = to_base64(checksums.md5)
    return found


def conditions(when: Precondition) -> dict[str, str]:
    """As query parameters. Raises PreconditionFailed for a version that no object here can have."""
    if when.create_only:
        return {"ifGenerationMatch": "0"}
    if when.replace and not is_generation(when.replace):
        raise PreconditionFailed(f"{when.replace!r} is no generation of Cloud Storage")
    return {"ifGenerationMatch": when.replace} if when.replace else {}


def is_generation(version: str) -> bool:
    """Whether an object can have it. 0 means that there is none."""
    return version.isascii() and version.isdecimal() and int(version) > 0


def to_hex(value: str) -> str:
    """Of a checksum as Cloud Storage writes it; "" for what is none."""
    try:
        return base64.b64decode(value, validate=True).hex()
    except binascii.Error:
        return ""


def to_base64(value: str) -> str:
    """As Cloud Storage writes a hexadecimal checksum."""
    return base64.b64encode(bytes.fromhex(value)).decode()
