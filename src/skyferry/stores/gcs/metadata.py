"""Conversion between Cloud Storage's object resource and the model: versions, positions, attributes, checksums.

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
from skyferry.stores.checks import suggest_handling

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
)  # the fields read; the rest, such as access lists, is not sent
UNTYPED = "application/octet-stream"  # Cloud Storage's type of an object without one
STANDARD = "STANDARD"  # the storage class "" of the model
_PLAIN = re.compile(r"[!-~](?:[ -~]*[!-~])?")  # it is a header too
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


def meta(resource: Mapping[str, Any]) -> ObjectMeta:
    """Parse an object resource. Raise StoreError if it is none."""
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
    except (AttributeError, KeyError, ValueError, TypeError) as broken:
        raise StoreError(
            "the answer is no object resource; check that the endpoint is Cloud Storage's JSON API"
        ) from broken


def position(generation: int, metageneration: int) -> Position:
    """Return the position in the same form as the parser of notifications."""
    return Position("gcs-generation", f"{generation:020d}.{metageneration:020d}")


def parse_range(key: str, answer: HttpResponse, start: int, length: int) -> ObjectMeta | None:
    """Parse the answer to a range read, which has no attributes. Return None if its body is not that range."""
    headers = answer.headers
    given = _RANGE.fullmatch(headers.get("content-range", ""))
    begin, size = (int(given[1]), int(given[2])) if given else (0, len(answer.body))
    if begin != start or len(answer.body) != min(length, size - start):
        return None
    generation, metageneration = headers.get("x-goog-generation", ""), headers.get("x-goog-metageneration", "")
    at = position(int(generation), int(metageneration)) if generation and metageneration else None
    return ObjectMeta(key=key, size=size, version=generation, modified=0.0, position=at)


def attributes(resource: Mapping[str, Any]) -> Attributes:
    """Parse the attributes of an object resource."""
    found = {field: resource.get(name, "") for field, name in ATTRIBUTES.items()}
    if found["storage_class"] == STANDARD:
        found["storage_class"] = ""
    user = {name.lower(): value for name, value in resource.get("metadata", {}).items()}
    return Attributes(metadata=user, **found)


def resource(key: str, given: Attributes, checksums: Checksums) -> dict[str, Any]:
    """Build the resource of a write. By its digests the server refuses a body that differs. Raise Unsupported."""
    found: dict[str, Any] = {name: getattr(given, field) for field, name in ATTRIBUTES.items() if getattr(given, field)}
    if not _PLAIN.fullmatch(found.setdefault("contentType", UNTYPED)):
        raise Unsupported(
            f"Cloud Storage cannot carry this content type: {given.content_type!r}", hint=suggest_handling("headers")
        )
    found["name"] = key
    if given.metadata:
        found["metadata"] = dict(given.metadata)
    if checksums.crc32c:
        found["crc32c"] = to_base64(checksums.crc32c)
    if checksums.md5:
        found["md5Hash"] = to_base64(checksums.md5)
    return found


def change(found: ObjectMeta, given: Attributes) -> dict[str, Any]:
    """Build the patch that replaces the attributes of an object: null removes a field. Raise Unsupported."""
    wanted = resource(found.key, given, Checksums())
    fields = [name for name in ATTRIBUTES.values() if name != "storageClass"]  # which only a rewrite changes
    removed = dict.fromkeys(name for name in found.attributes.metadata if name not in given.metadata)
    return {**{name: wanted.get(name) for name in fields}, "metadata": {**removed, **given.metadata}}


def exact_conditions(found: ObjectMeta) -> dict[str, str]:
    """Return the query parameters that require this generation and metageneration."""
    assert found.position is not None  # `meta` sets it
    changes = int(found.position.value.partition(".")[2])
    return {"ifGenerationMatch": found.version, "ifMetagenerationMatch": str(changes)}


def conditions(when: Precondition) -> dict[str, str]:
    """Return the query parameters of a precondition. Raise PreconditionFailed for an impossible version."""
    if when.create_only:
        return {"ifGenerationMatch": "0"}
    if when.replace and not is_generation(when.replace):
        raise PreconditionFailed(f"{when.replace!r} is no generation of Cloud Storage")
    return {"ifGenerationMatch": when.replace} if when.replace else {}


def is_generation(version: str) -> bool:
    """Return True for a version that an object can have. 0 means no object."""
    return version.isascii() and version.isdecimal() and int(version) > 0


def to_hex(value: str) -> str:
    """Convert a checksum of Cloud Storage to hexadecimal; "" if it is malformed."""
    try:
        return base64.b64decode(value, validate=True).hex()
    except binascii.Error:
        return ""


def to_base64(value: str) -> str:
    """Convert a hexadecimal checksum to the base64 that Cloud Storage uses."""
    return base64.b64encode(bytes.fromhex(value)).decode()
