"""Decide what to do with one transfer. Pure: nouns in, a decision out, no I/O.

There are up to three decisions: before the look at the source, after it, and when the destination is not as expected.
"""

from __future__ import annotations

from skyferry.engine.copy.provenance import (
    digest_attributes,
    find_loop,
    format_source,
    is_from_source,
    original_time,
    read_provenance,
)
from skyferry.frozen import dataclass
from skyferry.model import Change, Claim, ObjectMeta, ObjectRef, Placement, Position, Transfer
from skyferry.ports import Precondition, Skipped
from skyferry.routing.routes import Route

FILLING = 10.0  # seconds between looks at a source object that its provider has not completed


@dataclass(frozen=True, slots=True)
class Copy:
    """Write the source version that was found, on the condition `when`."""

    when: Precondition


@dataclass(frozen=True, slots=True)
class Update:
    """Change only what the destination object carries: it is proven to have the bytes of the source version."""

    destination: ObjectMeta


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete at the destination, on the condition `when`."""

    when: Precondition


@dataclass(frozen=True, slots=True)
class CheckDestination:
    """Look at the destination, because the ledger does not know enough; then decide about the conflict."""


@dataclass(frozen=True, slots=True)
class Postpone:
    """Try again later: the object is too young for its route, or not complete yet."""

    delay: float  # seconds


@dataclass(frozen=True, slots=True)
class Adopt:
    """Verify and record without a write: the destination has this very version already."""


Decision = Copy | Remove | CheckDestination | Postpone | Skipped


def decide_before_look(claim: Claim) -> Skipped | None:
    """Skip an event that is not newer than a version that a look at the source has found. Nothing is looked at."""
    transfer, placed = claim.transfer, claim.placement
    if transfer.asked or placed is None or not placed.is_from(transfer.source):
        return None
    return Skipped("superseded") if placed.has_passed(transfer.position, transfer.change) else None


def decide_after_look(claim: Claim, route: Route, source: ObjectMeta | None, now: float) -> Decision:
    """Decide with the metadata of the source object, or None if it does not exist."""
    if source is None:
        return _decide_missing(claim, route)
    transfer, placed = claim.transfer, claim.placement
    seen = collect_positions(source)
    if source.unfinished:
        return Postpone(FILLING)
    if refused := _filter(route, transfer, source, _age(source, transfer, now)):
        return refused if isinstance(refused, Postpone) else Skipped(refused, seen)
    if back := find_loop(source, route, _destination(claim, route)):
        return Skipped(back, seen)
    if placed is not None and placed.is_from(transfer.source) and not placed.deleted:
        same = placed.source.version == source.version
        if same and not _carries_other(placed.carried, placed.positions, source):
            return CheckDestination() if transfer.asked else Skipped("current", seen)
        if placed.has_passed(source.position):
            return Skipped("superseded", seen)
        if same:
            return CheckDestination()
    if placed is not None and placed.is_from(transfer.source) and placed.deleted and placed.has_passed(source.position):
        return Skipped("superseded", seen)
    if placed is not None and not placed.is_from(transfer.source) and placed.changed_at > min(source.modified, now):
        return Skipped("superseded")  # two sources share one destination key; the newest object wins
    return _decide_write(claim)


def is_known_absent(claim: Claim, route: Route) -> bool:
    """Return True if the destination had no object when it was listed, and a look before the write would change nothing.

    The source was looked at after that listing. So an object that another worker has copied from it meanwhile is no newer than
    the version found, and may be replaced. A repeated attempt may have written the object itself. In a ring the later write
    wins, in whichever store it was made.
    """
    transfer, first = claim.transfer, claim.attempt == 1 and not claim.lost
    return transfer.absent and first and claim.placement is None and not (transfer.asked or route.ring)


def decide_conflict(
    claim: Claim, route: Route, source: ObjectMeta, destination: ObjectMeta | None
) -> Copy | Update | Adopt | Skipped:
    """Decide about a copy whose destination is not as the ledger expected. `destination` is its object, or None.

    In a ring of routes both objects may be originals: then the later one stays, at both stores.
    """
    if destination is None:
        return Copy(Precondition(create_only=True))
    placed, provenance = claim.placement, read_provenance(destination)
    unchanged = placed is not None and _is_unchanged(placed, claim.transfer, source, destination)
    if provenance.source == format_source(claim.transfer.source):
        if _is_later(provenance.position, source.position):
            return Skipped("superseded", collect_positions(source))
        if provenance.version == source.version:
            written = (provenance.position,) if provenance.position else ()
            if _carries_other(provenance.carried, written, source):
                return _decide_update(source, destination, unchanged)
            return Skipped("current", collect_positions(source)) if unchanged else Adopt()
    elif placed is not None and unchanged:  # the destination keeps no provenance
        if _carries_other(placed.carried, placed.positions, source):
            return _decide_update(source, destination, unchanged)
        return Skipped("current", collect_positions(source))
    elif route.ring and _was_written_later(destination, source, route):
        return Skipped("superseded", collect_positions(source))
    return Copy(Precondition(replace=destination.version))


def decide_delete(claim: Claim, route: Route, destination: ObjectMeta | None) -> Remove | Skipped:
    """Decide about a delete with the destination object, or None. Only a copy of this source is deleted.

    A bucket at another server, or a folder of another machine, may have the same name and key. Its copies have another mark;
    but a container may have a new mark after each reboot, so what the ledger knows to be the copy counts more.
    """
    if destination is None:
        return Skipped("gone")
    provenance, placed = read_provenance(destination), claim.placement
    if provenance.source != format_source(claim.transfer.source):
        return Skipped("foreign")
    recorded = placed is not None and placed.transfer_id == provenance.transfer_id
    if not is_from_source(provenance, route) and not recorded:
        return Skipped("foreign")
    return Remove(Precondition(replace=destination.version))


def collect_positions(source: ObjectMeta | None) -> tuple[Position, ...]:
    """Return the position that the destination key has once settled: that of the version found, never an event's claim."""
    return () if source is None or source.position is None else (source.position,)


def _decide_missing(claim: Claim, route: Route) -> Decision:
    placed = claim.placement
    if claim.transfer.change is Change.CREATED or route.deletes != "propagate":
        return Skipped("gone")
    if placed is None or placed.deleted or not placed.version:
        # A tombstone too: a worker may have written after it, and died before it recorded that.
        return CheckDestination()
    if not placed.is_from(claim.transfer.source):
        return Skipped("foreign")
    return Remove(Precondition(replace=placed.version))


def _carries_other(digest: str, positions: tuple[Position, ...], source: ObjectMeta) -> bool:
    """Return True if the source version now carries something else than what has this digest.

    A copy by an older version of Skyferry has no digest: then a later position of the same content decides.
    """
    if digest:
        return digest != digest_attributes(source.attributes)
    at = source.position
    return at is not None and any(p.scheme == at.scheme and p.value < at.value for p in positions)


def _decide_update(source: ObjectMeta, destination: ObjectMeta, unchanged: bool) -> Update | Copy:
    """Update the destination if its bytes are proven: by the ledger, which verified them, or by a digest of both sides."""
    here, there = source.checksums, destination.checksums
    proven = unchanged or (here.comparable_with(there) and not here.find_conflict(there))
    if proven and source.size == destination.size:
        return Update(destination)
    return Copy(Precondition(replace=destination.version))


def _is_unchanged(placed: Placement, transfer: Transfer, source: ObjectMeta, destination: ObjectMeta) -> bool:
    """Return True if the destination still has the object that was written there from this very version."""
    return (
        placed.is_from(transfer.source)
        and not placed.deleted
        and placed.source.version == source.version
        and placed.version == destination.version
    )


def _decide_write(claim: Claim) -> Decision:
    placed = claim.placement
    if placed is None or placed.deleted:
        return Copy(Precondition(create_only=True))
    return Copy(Precondition(replace=placed.version)) if placed.version else CheckDestination()


def _filter(route: Route, transfer: Transfer, source: ObjectMeta, age: float) -> str | Postpone:
    if source.is_folder_marker and (route.folder_markers == "skip" or not transfer.key):
        return "marker"  # of the whole destination, if it has no key left
    if source.size < route.min_size or (route.max_size is not None and source.size > route.max_size):
        return "filtered"
    if route.max_age is not None and age > route.max_age:
        return "filtered"
    return Postpone(route.min_age - age) if age < route.min_age else ""


def _age(source: ObjectMeta, transfer: Transfer, now: float) -> float:
    """Return the seconds since the last change. A file may be dated in the future; then the time of the event counts."""
    return max(0.0, now - (source.modified if source.modified <= now else transfer.occurred_at))


def _is_later(recorded: Position | None, seen: Position | None) -> bool:
    return (
        recorded is not None
        and seen is not None
        and seen.exact
        and recorded.scheme == seen.scheme
        and recorded.value > seen.value
    )


def _was_written_later(destination: ObjectMeta, source: ObjectMeta, route: Route) -> bool:
    """Return True if the destination object is the later original. A tie has the same winner at both stores."""
    there, here = original_time(destination), original_time(source)
    return there > here or (there == here and route.store_mark > route.source_mark)


def _destination(claim: Claim, route: Route) -> ObjectRef:
    return ObjectRef(route.store_provider, route.store_bucket, claim.transfer.key)
