"""Conversion between an object's headers and the model: versions, attributes, checksums."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode

from skyferry.clouds.http import HttpResponse, seconds
from skyferry.errors import StoreError, Unsupported
from skyferry.frozen import dataclass
from skyferry.model import Attributes, Checksums, ObjectMeta, Position
from skyferry.regex import compile_lazily
from skyferry.stores.checks import suggest_handling

META = "x-amz-meta-"
UNSIZED, PROXY = (
    "the answer does not say how large the object is",
    "check whether a proxy removes Content-Length or Content-Range",
)
EMPTY = '""'
HEADERS = {  # field of Attributes -> header
    "content_type": "content-type",
    "content_encoding": "content-encoding",
    "content_language": "content-language",
    "content_disposition": "content-disposition",
    "cache_control": "cache-control",
    "storage_class": "x-amz-storage-class",
    "expires": "expires",
    "website_redirect": "x-amz-website-redirect-location",
}
CHECKSUMS = {name: f"x-amz-checksum-{name}" for name in ("crc32c", "crc64nvme", "sha256")}  # in order of preference
_MD5 = compile_lazily(r'"?([0-9a-f]{32})"?')
# An object has less than 2^63 bytes. `0--1/0` is Azurite's range of an empty blob.
_RANGE = compile_lazily(r"bytes (\d{1,18})--?\d{1,18}/(\d{1,18})")
_TOKEN = compile_lazily(r"[!#$%&'*+.^_`|~0-9a-z-]+")  # RFC 9110, 5.6.2


@dataclass(frozen=True, slots=True)
class S3Version:
    """A version in the form of `ObjectMeta.version`: version id, then the ETag in quotes.

    An unversioned bucket has no id, an event no ETag. The id "null" names any object written without versioning.
    """

    version_id: str = ""
    etag: str = ""  # with its quotes

    @classmethod
    def parse(cls, text: str) -> S3Version:
        version_id, quote, rest = text.partition('"')
        return cls("" if version_id == "null" else version_id, quote + rest)

    def __str__(self) -> str:
        return f"{self.version_id}{self.etag}"

    @property
    def query(self) -> dict[str, str]:
        """Query parameters that request this version."""
        return {"versionId": self.version_id} if self.version_id else {}

    @property
    def headers(self) -> dict[str, str]:
        """Headers that require this version."""
        return {"if-match": self.etag} if self.etag else {}


def _read_version(headers: Mapping[str, str]) -> tuple[str, bool]:
    """Return the version that an answer names, as a text, and True if the bucket keeps it."""
    version_id, etag = headers.get("x-amz-version-id", ""), quote_etag(headers.get("etag", ""))
    return (f"{version_id}{etag}", True) if version_id and version_id != "null" else (etag, False)


def quote_etag(etag: str) -> str:
    """Return an ETag in quotes, which some services omit, in headers or in listings. One form makes them comparable.

    An empty one, as of `rclone serve s3` without a hash, names no version. A proxy that changes nothing else may make one weak.
    """
    etag = etag.removeprefix("W/")
    return f'"{etag}"' if etag and not etag.startswith('"') else etag if etag != EMPTY else ""


def meta(key: str, headers: Mapping[str, str], size: int, *, ranged: bool = False) -> ObjectMeta:
    """Parse the answer to a GET or HEAD; `ranged` if it covers a range only."""
    modified, position = _parse_date(headers.get("last-modified", ""))
    version, kept = _read_version(headers)
    return ObjectMeta(
        key=key,
        size=size,
        version=version,
        kept=kept,
        modified=modified,
        position=position,
        checksums=checksums(headers, ranged=ranged),
        attributes=attributes(headers),
    )


def parse_write(key: str, headers: Mapping[str, str], size: int, given: Attributes) -> ObjectMeta:
    """Parse the answer to a PUT. It has the time but not the attributes, which are `given`."""
    modified, position = _parse_date(headers.get("date", ""))
    version, kept = _read_version(headers)
    return ObjectMeta(
        key=key,
        size=size,
        version=version,
        kept=kept,
        modified=modified,
        position=position,
        checksums=checksums(headers),
        attributes=given,
    )


@lru_cache(256)  # objects that were written together have the same date
def _parse_date(date: str) -> tuple[float, Position]:
    """Parse an HTTP date to seconds since 1970, and to a position."""
    modified = seconds(date)
    return modified, Position.at(int(modified * 1e9))


def content_range(answer: HttpResponse) -> tuple[int, int]:
    """Return the offset of the body and the size of the object. Without a range the body is all of it.

    Raise StoreError if the answer to a GET does not say them: a part of an object must not pass for the whole, nor a body that
    ends with its connection.
    """
    headers = answer.headers
    if given := _RANGE.fullmatch(headers.get("content-range", "")):
        return int(given[1]), int(given[2])
    if answer.status == 200 and ("content-length" in headers or "transfer-encoding" in headers):
        return 0, len(answer.body)
    raise StoreError(UNSIZED, hint=PROXY)


def content_length(answer: HttpResponse, default: str = "") -> int:
    """Return the size of the object from the answer to a HEAD. Raise StoreError without one."""
    if not (said := answer.headers.get("content-length", default)):
        raise StoreError(UNSIZED, hint=PROXY)
    return int(said)


def checksums(headers: Mapping[str, str], *, ranged: bool = False) -> Checksums:
    """Return the digests of the whole content that these headers attest.

    A COMPOSITE checksum is a digest of digests. For a range, S3 returns it without its `-N` suffix (boto/botocore#3346), so
    the checksum of a range counts only if the type is given. An ETag is an MD5 if it looks like one and neither a KMS key
    nor a customer key encrypts the object ("Object", Amazon S3 API Reference).
    """
    kind = headers.get("x-amz-checksum-type", "COMPOSITE" if ranged else "FULL_OBJECT")
    found = {}
    if kind == "FULL_OBJECT":
        found = {name: from_base64(headers[header]) for name, header in CHECKSUMS.items() if header in headers}
    keyed = headers.get("x-amz-server-side-encryption", "").startswith("aws:kms")
    keyed = keyed or "x-amz-server-side-encryption-customer-algorithm" in headers
    md5 = None if keyed else _MD5.fullmatch(headers.get("etag", ""))
    return Checksums(md5=md5[1] if md5 else "", **found)


def from_base64(value: str) -> str:
    """Convert a checksum to hexadecimal; "" if it is no plain checksum."""
    try:
        return base64.b64decode(value, validate=True).hex()
    except binascii.Error:  # "...-7", a composite one
        return ""


def to_base64(value: str) -> str:
    """Convert a hexadecimal checksum to the base64 that S3 uses."""
    return base64.b64encode(bytes.fromhex(value)).decode()


def attributes(headers: Mapping[str, str]) -> Attributes:
    """Parse the attributes from the answer to a GET or HEAD. Tags are not in it."""
    named, fields = _find_attributes(tuple(headers))
    user = {name: decode(headers[header]) for name, header in named}
    found: dict[str, Any] = {field: text(headers[header]) for field, header in fields}
    if "content_encoding" in found:
        found["content_encoding"] = _as_stored(found["content_encoding"])
    return Attributes(metadata=user, **found)


@lru_cache(256)
def _find_attributes(names: tuple[str, ...]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the names of user metadata and the fields of Attributes in an answer, each with its header.

    Most answers have the names of one before them.
    """
    named = [(name[len(META) :], name) for name in names if name.startswith(META)]
    return named, [(field, header) for field, header in HEADERS.items() if header in names]


def _as_stored(encoding: str) -> str:
    """Remove `aws-chunked`, the transfer encoding of the writer, which some services keep (boto/boto3#4564)."""
    if "aws-chunked" not in encoding:
        return encoding
    return ", ".join(each for each in map(str.strip, encoding.split(",")) if each != "aws-chunked")


def write_headers(given: Attributes, *, tags: bool) -> dict[str, str]:
    """Return the headers of a PUT or of the start of an upload. Raise Unsupported for values that no header can carry."""
    found = {header: value for field, header in HEADERS.items() if (value := getattr(given, field))}
    for header, value in found.items():
        if not _is_plain(value):
            raise Unsupported(f"S3 cannot carry this {header}: {value!r}", hint=suggest_handling("headers"))
    for name, value in given.metadata.items():
        found[_name_metadata(name)] = encode(value)
    if given.tags and tags:
        found["x-amz-tagging"] = urlencode(given.tags, quote_via=quote)
    return found


@lru_cache(1024)
def _name_metadata(name: str) -> str:
    """Return the header of user metadata. Raise Unsupported for a name that no header has."""
    if not _TOKEN.fullmatch(lower := name.lower()):
        raise Unsupported(f"S3 cannot carry user metadata named {name!r}", hint=suggest_handling("metadata"))
    return META + lower


def _is_plain(value: str) -> bool:
    """Return True for visible ASCII, with spaces in it but not around it."""
    return value.isascii() and value.isprintable() and value[:1] != " " and value[-1:] != " "


def encode(value: str) -> str:
    """Encode user metadata for a header: plain ASCII unchanged, other text as one RFC 2047 word, as S3 itself does.

    Plain text that `decode` would take for such a word is encoded too.
    """
    if value == "" or (_is_plain(value) and ("=?" not in value or decode(value) == value)):
        return value
    return f"=?UTF-8?B?{base64.b64encode(value.encode()).decode()}?="


def decode(value: str) -> str:
    """Decode the result of `encode`. Text that only looks like RFC 2047 is unchanged."""
    if "=?" in value:
        from email.errors import HeaderParseError  # here, for they are slow to import
        from email.header import decode_header, make_header

        try:
            return str(make_header(decode_header(value)))
        except (HeaderParseError, UnicodeDecodeError, LookupError):
            return value
    return text(value)


def text(value: str) -> str:
    """Decode bytes that are not UTF-8 as Latin-1, HTTP's former charset. aiohttp keeps them as surrogates."""
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape").decode("latin-1")
    return value
