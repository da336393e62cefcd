"""Write provenance into the metadata of copies and read it, so that order survives the loss of the ledger. Pure.

| name | value |
|---|---|
| `skyferry-source` | `provider://bucket/key`, percent-encoded; a long key as `provider://bucket/#` and its BLAKE2b-128 |
| `skyferry-position` | `scheme:value` of the source version |
| `skyferry-version` | the source version (version id, generation, ETag, local version), percent-encoded |
| `skyferry-attributes` | digest of what the source version carried: 16 hexadecimal digits, see `digest_attributes` |
| `skyferry-transfer` | the id of the transfer that wrote it |
| `skyferry-via` | marks of the stores that the object has passed, in order: 12 hexadecimal digits each, separated by commas |
| `skyferry-written` | time of the original write, in microseconds since 1970; in rings of routes only |
| `skyferry-sha256` | SHA-256 of the content, if it was known before the write began |
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import lru_cache
from urllib.parse import quote, unquote

from skyferry.frozen import dataclass
from skyferry.model import Attributes, Checksums, ObjectMeta, ObjectRef, Position, Transfer
from skyferry.regex import compile_lazily
from skyferry.routing.routes import Route

NAMES = frozenset(
    f"skyferry-{name}"
    for name in ("source", "position", "version", "attributes", "transfer", "via", "written", "sha256")
)
LONGEST = 512  # characters of a source that is not hashed
VIA_MAX = 256  # characters that are read
HOPS = 8  # copies of copies; the result of so many is not copied again


@dataclass(frozen=True, slots=True)
class Provenance:
    """The origin of an object as its metadata say; all fields are empty for an object that Skyferry did not write."""

    source: str = ""
    position: Position | None = None
    version: str = ""
    transfer_id: str = ""
    via: tuple[str, ...] = ()  # marks of the stores before this one, in order
    carried: str = ""  # digest of the attributes that the source had


_NONE = Provenance()
_UNRESERVED = compile_lazily(r"[A-Za-z0-9_.~/-]*")


def format_source(source: ObjectRef) -> str:
    """Return the `skyferry-source` for copies of this object."""
    base = f"{source.provider}://{_quote(source.bucket)}/"
    text = base + _quote(source.key)
    if len(text) <= LONGEST:
        return text
    return f"{base}#{hashlib.blake2b(source.key.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def _quote(text: str) -> str:
    """Percent-encode. Most texts need no encoding, and finding that is faster."""
    return text if _UNRESERVED.fullmatch(text) else quote(text)


def make_provenance(
    transfer: Transfer, route: Route, source: ObjectMeta, checksums: Checksums, carried: str
) -> dict[str, str]:
    """Return the user metadata that a copy gets as its provenance. `carried` is the digest of the source's attributes."""
    mine = {
        "skyferry-source": format_source(transfer.source),
        "skyferry-position": str(source.position or ""),
        "skyferry-version": _quote(source.version),
        "skyferry-attributes": carried,
        "skyferry-transfer": transfer.id,
        "skyferry-via": ",".join((*read_provenance(source).via, route.source_mark)[-HOPS:])
        if route.source_mark
        else "",
        "skyferry-written": str(original_time(source)) if route.ring else "",
        "skyferry-sha256": checksums.sha256,
    }
    return {name: value for name, value in mine.items() if value}


def read_provenance(meta: ObjectMeta) -> Provenance:
    """Read the provenance of an object."""
    user = meta.attributes.metadata
    if NAMES.isdisjoint(user):
        return _NONE
    position = user.get("skyferry-position", "")
    return Provenance(
        source=user.get("skyferry-source", ""),
        position=Position.parse(position) if position else None,
        version=unquote(user.get("skyferry-version", "")),
        carried=user.get("skyferry-attributes", ""),
        transfer_id=user.get("skyferry-transfer", ""),
        via=tuple(mark for mark in user.get("skyferry-via", "")[:VIA_MAX].split(",") if mark),
    )


def is_from_source(mark: Provenance, route: Route) -> bool:
    """Return False for a copy from a same-named source on another machine or at another server.

    The provenance of older versions and of `skyferry copy` has no marks, so the names alone must do.
    """
    return not mark.via or route.source_mark in ("", mark.via[-1])


def digest_attributes(attributes: Attributes) -> str:
    """Return the BLAKE2b-64 of what an object carries, in hexadecimal.

    Storage class and permissions do not count: a change of these alone is not copied. Nor does provenance, which each copy has
    its own.
    """
    texts = (
        attributes.content_type,
        attributes.content_encoding,
        attributes.content_language,
        attributes.content_disposition,
        attributes.cache_control,
        attributes.expires,
        attributes.website_redirect,
    )
    if not (attributes.metadata or attributes.tags):
        return _digest_headers(texts)
    user = sorted([item for item in attributes.metadata.items() if item[0] not in NAMES])
    return _digest((texts, user, sorted(attributes.tags.items())))


@lru_cache(maxsize=256)
def _digest_headers(texts: tuple[str, ...]) -> str:
    """Digest what an object with headers only carries. Many objects have the same, and files have none."""
    return _digest((texts, [], []))


def _digest(carried: object) -> str:
    return hashlib.blake2b(repr(carried).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def original_time(meta: ObjectMeta) -> int:
    """Return the time of the original write from the provenance, else the time of the store: microseconds since 1970."""
    text = meta.attributes.metadata.get("skyferry-written", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else round(meta.modified * 1e6)


def find_loop(source: ObjectMeta, route: Route, destination: ObjectRef) -> str:
    """Return the reason not to copy an object: "loop" if it has been at the destination, "hops" after too many copies.

    The provenance of older versions and of `skyferry copy` has no `via`; then only a copy back to the original key is a loop.
    """
    provenance = read_provenance(source)
    if len(provenance.via) >= HOPS:
        return "hops"
    if route.allow_loopback or provenance is _NONE:
        return ""
    if provenance.via and route.store_mark:
        return "loop" if route.store_mark != route.source_mark and route.store_mark in provenance.via else ""
    return "loop" if provenance.source == format_source(destination) else ""


def differ_in_transfer_only(one: Attributes, other: Attributes) -> bool:
    """Return True if both are equal but for the transfer id, as for two events about one version."""

    def bare(attributes: Attributes) -> Attributes:
        return replace(attributes, metadata={k: v for k, v in attributes.metadata.items() if k != "skyferry-transfer"})

    return bare(one) == bare(other)
