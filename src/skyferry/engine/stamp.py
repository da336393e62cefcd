"""What Skyferry writes into the metadata of the objects it makes, so that order survives the loss of the ledger. Pure.

| name | value |
|---|---|
| `skyferry-source` | `provider://bucket/key`, percent-encoded; a long key as `provider://bucket/#` and its BLAKE2b-128 |
| `skyferry-position` | `scheme:value` of the source version |
| `skyferry-version` | the source version (version id, generation, ETag, local version), percent-encoded |
| `skyferry-transfer` | the id of the transfer that wrote it |
| `skyferry-sha256` | of the content, where it was known before the write began |
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

from skyferry.config.routes import Route
from skyferry.model import Attributes, Checksums, ObjectMeta, ObjectRef, Position, Transfer

PREFIX = "skyferry-"
LONGEST = 512  # characters of a source that is written out


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an object says of its origin; all "" and None if it is not ours."""

    source: str = ""
    position: Position | None = None
    version: str = ""
    transfer_id: str = ""


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
        "skyferry-position": str(source.position or transfer.position or ""),
        "skyferry-version": quote(source.version),
        "skyferry-transfer": transfer.id,
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
    )


def alike(one: Attributes, other: Attributes) -> bool:
    """Whether they differ at most in the id of the transfer, as where two events are about one version."""

    def bare(attributes: Attributes) -> Attributes:
        return replace(attributes, metadata={k: v for k, v in attributes.metadata.items() if k != "skyferry-transfer"})

    return bare(one) == bare(other)
