"""Decide what a copy carries: what the source does, changed by the route, and as far as the destination can store it. Pure."""

from __future__ import annotations

from skyferry.engine.copy.attributes.fitting import fit_attributes
from skyferry.engine.copy.provenance import NAMES, digest_attributes, make_provenance
from skyferry.frozen import dataclass, replace
from skyferry.model import EXPIRES, REDIRECTS, TAGS, Attributes, Checksums, ObjectMeta, Traits, Transfer
from skyferry.model.mtime import NAME, format_mtime
from skyferry.routing.routes import FAIL, Route


@dataclass(frozen=True, slots=True)
class Cargo:
    """The attributes of a copy, and how they differ from those of its source."""

    attributes: Attributes
    digest: str  # of what the source version carries, see `digest_attributes`
    changes: tuple[str, ...] = ()  # a line for each thing that the destination could not store as it was


def carry_attributes(
    transfer: Transfer, route: Route, source: ObjectMeta, checksums: Checksums, traits: Traits
) -> Cargo:
    """Return what the copy of this source version carries, and its provenance."""
    carried, digest = route.carried(source.attributes), digest_attributes(source.attributes)
    provenance = make_provenance(transfer, route, source, checksums, digest)
    user = {name: value for name, value in carried.metadata.items() if name not in NAMES}
    if carried.mtime is not None and not traits.keeps_mtime:
        user.setdefault(NAME, format_mtime(carried.mtime))
    user |= route.metadata
    kind = carried.content_type or transfer.content_type or route.guess_type(transfer.source.key)
    redirect = "" if REDIRECTS in traits.lossy else carried.website_redirect
    plain = route.unfit is FAIL or route.unfit == FAIL  # then the store refuses what it cannot keep
    metadata = {**user, **provenance} if plain else user
    carried = replace(carried, content_type=kind, metadata=metadata, website_redirect=redirect)
    if plain:
        return Cargo(carried, digest)
    reserved = sum(len(name) + len(value) for name, value in provenance.items())
    fitted, changes = fit_attributes(carried, traits, route.unfit, reserved)
    return Cargo(replace(fitted, metadata={**fitted.metadata, **provenance}), digest, changes)


def find_lost(attributes: Attributes, route: Route, traits: Traits) -> tuple[str, ...]:
    """Return what the copy of an object should carry and its destination cannot keep, as in `Traits.lossy`.

    File permissions are left out: each file has some, and every store but a folder loses them.
    """
    if not (attributes.tags or attributes.expires or attributes.website_redirect):
        return ()
    carried = route.carried(attributes)
    has = ((TAGS, carried.tags), (EXPIRES, carried.expires), (REDIRECTS, carried.website_redirect))
    return tuple(name for name, value in has if value and name in traits.lossy)
