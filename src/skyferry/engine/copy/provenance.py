"""What Skyferry writes into the metadata of the objects it makes, so that order survives the loss of the ledger. Pure.

| name | value |
|---|---|
| `skyferry-source` | `provider://bucket/key`, percent-encoded; a long key as `provider://bucket/#` and its BLAKE2b-128 |
| `skyferry-position` | `scheme:value` of the source version |
| `skyferry-version` | the source version (version id, generation, ETag, local version), percent-encoded |
| `skyferry-transfer` | the id of the transfer that wrote it |
| `skyferry-via` | marks of the stores where it has been, the first one first: 12 hexadecimal digits each, with a comma between |
| `skyferry-written` | microseconds since 1970: when it was written where it was no copy; in rings of routes only |
| `skyferry-sha256` | of the content, where it was known before the write began |
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

from skyferry.model import Attributes, Checksums, ObjectMeta, ObjectRef, Position, Transfer
from skyferry.routing.routes import Route

PREFIX = "skyferry-"
LONGEST = 512  # characters of a source that is written out
VIA_MAX = 256  # characters that are read
HOPS = 8  # copies of copies; one that was made by so many is not copied on


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an object says of its origin; all "" and None if it is not ours."""

    source: str = ""
    position: Position | None = None
    version: str = ""
    transfer_id: str = ""
    via: tuple[str, ...] = ()  # where it has been before it came to where it is, the first one first


def origin(source: ObjectRef) -> str:
    """The `skyferry-source` of this object."""
    base = f"{source.provider}://{quote(source.bucket)}/"
    text = base + quote(source.key)
    if len(text) <= LONGEST:
        return text
    return f"{base}#{hashlib.blake2b(source.key.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def stamped(transfer: Transfer, route: Route, source: ObjectMeta, checksums: Checksums) -> Attributes:
    """The attributes to write: the source's own, what the route makes of them and adds, and the stamp."""
    carried = route.carried(source.attributes)
    theirs = {k: v for k, v in carried.metadata.items() if not k.startswith(PREFIX)}
    mine = {
        "skyferry-source": origin(transfer.source),
        "skyferry-position": str(source.position or ""),
        "skyferry-version": quote(source.version),
        "skyferry-transfer": transfer.id,
        "skyferry-via": ",".join((*read(source).via, route.source_mark)[-HOPS:]) if route.source_mark else "",
        "skyferry-written": str(written(source)) if route.ring else "",
        "skyferry-sha256": checksums.sha256,
    }
    content_type = carried.content_type or transfer.content_type
    metadata = theirs | route.metadata | {k: v for k, v in mine.items() if v}
    return replace(carried, content_type=content_type, metadata=metadata)


def read(meta: ObjectMeta) -> Stamp:
    """The stamp on an object."""
    user = meta.attributes.metadata
    position = user.get("skyferry-position", "")
    return Stamp(
        source=user.get("skyferry-source", ""),
        position=Position.parse(position) if position else None,
        version=unquote(user.get("skyferry-version", "")),
        transfer_id=user.get("skyferry-transfer", ""),
        via=tuple(mark for mark in user.get("skyferry-via", "")[:VIA_MAX].split(",") if mark),
    )


def written(meta: ObjectMeta) -> int:
    """When an object was written where it was no copy, as its stamp says, else as its store says: microseconds since 1970."""
    told = meta.attributes.metadata.get("skyferry-written", "")
    return int(told) if told.isascii() and told.isdigit() and len(told) <= 18 else round(meta.modified * 1e6)


def comes_back(source: ObjectMeta, route: Route, destination: ObjectRef) -> str:
    """The reason not to copy an object on: "loop" where it has been at the destination's store, "hops" after too many copies.

    A stamp of an older version has no `via`, nor has one of `skyferry copy`: then an object does not go back to its very key.
    """
    mark = read(source)
    if len(mark.via) >= HOPS:
        return "hops"
    if route.allow_loopback:
        return ""
    if mark.via and route.store_mark:
        return "loop" if route.store_mark != route.source_mark and route.store_mark in mark.via else ""
    return "loop" if mark.source == origin(destination) else ""


def alike(one: Attributes, other: Attributes) -> bool:
    """Whether they differ at most in the id of the transfer, as where two events are about one version."""

    def bare(attributes: Attributes) -> Attributes:
        return replace(attributes, metadata={k: v for k, v in attributes.metadata.items() if k != "skyferry-transfer"})

    return bare(one) == bare(other)
