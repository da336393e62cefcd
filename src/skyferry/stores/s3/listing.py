"""Parse the pages of listings: objects, versions, uploads. A page is walked once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from skyferry.clouds.http import parse_xml
from skyferry.errors import StoreError, Unsupported
from skyferry.model import Attributes, Checksums, ObjectMeta, Position
from skyferry.regex import compile_lazily
from skyferry.stores.checks import OTHER_SERVER
from skyferry.stores.s3.metadata import quote_etag

_PREFIX = compile_lazily(rb"<Prefix>.*?</Prefix>", re.DOTALL)
_NO_CHECKSUMS, _NO_ATTRIBUTES = Checksums(), Attributes()  # a listing has neither


def parse_listing(body: bytes) -> ElementTree.Element:
    """Parse a listing without its Prefix element: Ceph repeats the prefix unescaped, even characters that XML forbids.

    Raise StoreError for any other document, which must not pass for an empty bucket.
    """
    document = parse_xml(_PREFIX.sub(b"", body, count=1))
    if not document.tag.endswith("Result"):
        raise StoreError("the answer is no listing; check whether another server answers at this endpoint")
    return document


def parse_objects(listing: ElementTree.Element) -> Iterator[ObjectMeta]:
    """Return the objects of a page, in its order. Raise StoreError for one without a key, a time or a whole size."""
    decode = key_decoder(listing)
    try:
        for fields in _rows(listing, "Contents"):
            modified = datetime.fromisoformat(fields["LastModified"]).timestamp()
            yield ObjectMeta(
                key=decode(fields["Key"]),
                size=int(fields.get("Size") or 0),
                version=quote_etag(fields.get("ETag", "")),
                modified=modified,
                position=Position.at(int(modified * 1e9)),
                checksums=_NO_CHECKSUMS,
                attributes=_NO_ATTRIBUTES,
            )
    except (KeyError, OverflowError, ValueError) as broken:
        raise StoreError("an object of the listing cannot be read", hint=OTHER_SERVER) from broken


def check_count(listing: ElementTree.Element, found: int, where: str) -> None:
    """Raise StoreError if the page has fewer rows than it counts. Several services count fewer than they list, or not at all."""
    counted = listing.findtext("{*}KeyCount", "")
    if counted.isdecimal() and found < int(counted):
        hint = "check whether a proxy or the service itself drops objects"
        raise StoreError(f"a page of the listing has {found} of {counted} objects", where=where, hint=hint)


def key_decoder(listing: ElementTree.Element) -> Callable[[str], str]:
    """Return a function that decodes the keys of a page. Some services ignore the requested encoding (a plus is a space).

    The encoding is looked up once: finding an element costs as much as the page is long.
    """
    return _unquote if listing.findtext("{*}EncodingType") == "url" else str


# Bytes that are not UTF-8 become surrogates: the key is refused by itself where it is used, and its neighbours are not.
_unquote = partial(unquote_plus, errors="surrogateescape")


def next_token(listing: ElementTree.Element, found: int, where: str) -> str:
    """Return the token of the page after this one of `found` objects; "" after the last page.

    A page with a token is the last one only if it says so and is empty: some services return both a token and "not truncated".
    The next page shows which of both is wrong. No object is left out, and a listing that begins again is an error.
    """
    if listing.findtext("{*}IsTruncated", "").lower() == "false" and found:
        return listing.findtext("{*}NextContinuationToken", "")
    return next_marker(listing, "NextContinuationToken", where)


def next_marker(listing: ElementTree.Element, element: str, where: str) -> str:
    """Return the marker of the next page, from `element` of this page; "" after the last page.

    A page without IsTruncated is not the last one if it has a marker. A last page of uploads may have one.
    """
    truncated, marker = listing.findtext("{*}IsTruncated", "").lower(), listing.findtext(f"{{*}}{element}", "")
    if truncated == "false":
        return ""
    if truncated and not marker:  # the same request would return this page forever
        raise Unsupported("the listing goes on, but the service returns no marker", where=where)
    return marker


def _rows(listing: ElementTree.Element, name: str) -> Iterator[dict[str, str]]:
    """Return the texts of each element with this name, by the names of its children without their namespace."""
    for row in listing:
        if row.tag.rpartition("}")[2] == name:
            yield {child.tag.rpartition("}")[2]: child.text or "" for child in row}
