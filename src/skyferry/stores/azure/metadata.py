"""Conversion between a blob's headers and the model: versions, attributes, checksums, names of user metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import quote, urlencode

from skyferry.clouds.http import seconds
from skyferry.errors import StoreError, Unsupported
from skyferry.frozen import dataclass
from skyferry.model import Attributes, Checksums, ObjectMeta, Position
from skyferry.stores.checks import OTHER_SERVER, suggest_handling
from skyferry.stores.s3.metadata import decode, encode, from_base64, text

META = "x-ms-meta-"
TIER = "x-ms-access-tier"
HEADERS = {  # field of Attributes -> header of an answer; a write prefixes it with x-ms-blob-
    "content_type": "content-type",
    "content_encoding": "content-encoding",
    "content_language": "content-language",
    "content_disposition": "content-disposition",
    "cache_control": "cache-control",
}
_PLAIN = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_VERSION_ID = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z")
_ESCAPED = re.compile(r"_x([0-9a-f]{4}|[0-9a-f]{8})_")
_TO_ESCAPE = re.compile(r"[^a-z0-9_]|^[0-9]|_(?=x[0-9a-f]{4}(?:[0-9a-f]{4})?_)")
EMPTY = "=?UTF-8?B??="  # the empty string: a header must not be empty


@dataclass(frozen=True, slots=True)
class AzureVersion:
    """A version in the form of `ObjectMeta.version`: version id, if the account keeps versions, then the ETag in quotes.

    An event has the ETag without quotes.
    """

    version_id: str = ""
    etag: str = ""  # with its quotes

    @classmethod
    def parse(cls, text: str) -> AzureVersion:
        version_id, quote, rest = text.partition('"')
        if quote or not version_id or _VERSION_ID.fullmatch(version_id):
            return cls(version_id, quote + rest)
        return cls("", f'"{version_id}"')

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> AzureVersion:
        """Read the version from the headers of an answer."""
        return cls(headers.get("x-ms-version-id", ""), quote_etag(headers.get("etag", "")))

    def __str__(self) -> str:
        return f"{self.version_id}{self.etag}"

    @property
    def query(self) -> dict[str, str]:
        """Query parameters that request this version."""
        return {"versionid": self.version_id} if self.version_id else {}

    @property
    def headers(self) -> dict[str, str]:
        """Headers that require this version to be the newest."""
        return {"if-match": self.etag} if self.etag else {}

    @property
    def reading(self) -> dict[str, str]:
        """Headers that require this version in a read, if the query does not."""
        return {} if self.version_id else self.headers


def quote_etag(etag: str) -> str:
    """Quote an ETag as in HTTP; listings omit the quotes."""
    return etag if etag.startswith('"') or not etag else f'"{etag}"'


def meta(key: str, headers: Mapping[str, str], size: int, *, ranged: bool = False) -> ObjectMeta:
    """Parse the answer to a GET or HEAD; `ranged` if it covers a range only."""
    found = parse_write(key, headers, size, attributes(headers), checksums(headers, ranged=ranged))
    return replace(found, unfinished=headers.get("x-ms-copy-status") == "pending")


def parse_write(key: str, headers: Mapping[str, str], size: int, given: Attributes, attested: Checksums) -> ObjectMeta:
    """Parse the answer to a write. It has the time but not the attributes, which are `given`.

    Raise StoreError without an ETag: a page of a proxy must not prove a write, whose checksums Azure has verified but not repeated.
    """
    modified, version = seconds(headers.get("last-modified", "")), AzureVersion.of(headers)
    if not version.etag:
        raise StoreError("the answer is not that of Azure: it has no ETag", hint=OTHER_SERVER)
    return ObjectMeta(
        key=key,
        size=size,
        version=str(version),
        modified=modified,
        position=Position.at(int(modified * 1e9)),
        checksums=attested,
        attributes=given,
    )


def checksums(headers: Mapping[str, str], *, ranged: bool = False) -> Checksums:
    """Read the blob's MD5: Azure's own for a blob of one request, otherwise that declared by its writer, if any."""
    said = headers.get("x-ms-blob-content-md5" if ranged else "content-md5", "")
    return Checksums(md5=from_base64(said))


def attributes(headers: Mapping[str, str]) -> Attributes:
    """Parse the attributes from the answer to a GET or HEAD, without tags. The account's default tier counts as none."""
    user = {
        unescape(name.lower()[len(META) :]): decode(value)
        for name, value in headers.items()
        if name.lower().startswith(META)
    }

    def of(field: str) -> str:
        return text(headers.get(HEADERS[field], ""))

    inferred = headers.get("x-ms-access-tier-inferred", "").lower() == "true"
    return Attributes(
        content_type=of("content_type"),
        content_encoding=of("content_encoding"),
        content_language=of("content_language"),
        content_disposition=of("content_disposition"),
        cache_control=of("cache_control"),
        storage_class="" if inferred else headers.get(TIER, ""),
        metadata=user,
    )


def write_headers(given: Attributes, *, tags: bool) -> dict[str, str]:
    """Return the headers of Put Blob or Put Block List. Raise Unsupported for values that no header can carry."""
    found = {f"x-ms-blob-{h}": getattr(given, f) for f, h in HEADERS.items() if getattr(given, f)}
    if given.storage_class:
        found[TIER] = given.storage_class
    for header, value in found.items():
        if not _PLAIN.fullmatch(value):
            raise Unsupported(f"Azure cannot carry this {header}: {value!r}", hint=suggest_handling("headers"))
    for name, value in given.metadata.items():
        if not name:
            raise Unsupported("Azure cannot carry user metadata without a name", hint=suggest_handling("metadata"))
        found[META + escape(name)] = encode(value) or EMPTY
    if given.tags and tags:
        found["x-ms-tags"] = urlencode(given.tags, quote_via=quote)
    return found


def escape(name: str) -> str:
    """Escape a metadata name to the C# identifier that Azure requires: `a-b` becomes `a_x002d_b` (XmlConvert.EncodeName).

    Every name can be unescaped, in lower case: Azure does not preserve case.
    """
    return _TO_ESCAPE.sub(lambda found: f"_x{ord(found[0]):0{4 if ord(found[0]) < 0x10000 else 8}x}_", name.lower())


def unescape(name: str) -> str:
    """Reverse `escape`. A name without an escape is unchanged."""
    return _ESCAPED.sub(lambda found: chr(min(int(found[1], 16), 0x10FFFF)), name)
