"""What to do with one transfer. Pure: nouns in, a decision out, no I/O.

Asked up to three times: before the source is looked at, after it, and when the destination was not as expected.
"""

from __future__ import annotations

from dataclasses import dataclass

from skyferry.engine.copy import provenance as stamp
from skyferry.model import Change, Claim, ObjectMeta, ObjectRef, Placement, Position, Transfer
from skyferry.ports import Precondition, Skipped
from skyferry.routing.routes import Route

FILLING = 10.0  # seconds between looks at a source that its provider is filling


@dataclass(frozen=True, slots=True)
class Copy:
    """Write the source version that was seen, if `when` holds."""

    when: Precondition


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete at the destination, if `when` holds."""

    when: Precondition


@dataclass(frozen=True, slots=True)
class CheckDestination:
    """The ledger does not know enough: look at the destination, then ask `conflict`."""


@dataclass(frozen=True, slots=True)
class Later:
    """Too young for its route, or not all there yet; come again."""

    at: float  # seconds since 1970


@dataclass(frozen=True, slots=True)
class Adopt:
    """The destination holds this very version already: prove it and record it, no write."""


Decision = Copy | Remove | CheckDestination | Later | Skipped


def before(claim: Claim) -> Skipped | None:
    """Without looking at anything: has the source itself shown a version that is no older than this event?"""
    transfer, placed = claim.transfer, claim.placement
    if transfer.asked or placed is None or not placed.is_from(transfer.source):
        return None
    return Skipped("superseded") if placed.has_passed(transfer.position, transfer.change) else None


def looked(claim: Claim, route: Route, source: ObjectMeta | None, now: float) -> Decision:
    """With the source in sight. `source` None: it is gone."""
    if source is None:
        return _gone(claim, route)
    transfer, placed = claim.transfer, claim.placement
    seen = positions(source)
    if source.unfinished:
        return Later(now + FILLING)
    if refused := _filtered(route, source, _age(source, transfer, now), now):
        return refused if isinstance(refused, Later) else Skipped(refused, seen)
    if back := stamp.comes_back(source, route, _destination(claim, route)):
        return Skipped(back, seen)
    if placed is not None and placed.is_from(transfer.source) and not placed.deleted:
        if placed.source.version == source.version:
            return CheckDestination() if transfer.asked else Skipped("current", seen)
        if placed.has_passed(source.position):
            return Skipped("superseded", seen)
    if placed is not None and placed.is_from(transfer.source) and placed.deleted and placed.has_passed(source.position):
        return Skipped("superseded", seen)
    if placed is not None and not placed.is_from(transfer.source) and placed.changed_at > min(source.modified, now):
        return Skipped("superseded")  # two sources share one destination key: the newest object wins
    return _write(claim)


def conflict(claim: Claim, route: Route, source: ObjectMeta, destination: ObjectMeta | None) -> Copy | Adopt | Skipped:
    """A copy is due, but the destination is not what the ledger expected: `destination` is what it holds (None: nothing).

    In a ring of routes both may have been written by themselves: the later one stays, at both stores.
    """
    if destination is None:
        return Copy(Precondition(create_only=True))
    placed, mark = claim.placement, stamp.read(destination)
    if _untouched(placed, claim.transfer, source, destination):
        return Skipped("current", positions(source))
    if mark.source == stamp.origin(claim.transfer.source):
        if mark.version == source.version:
            return Adopt()
        if _later(mark.position, source.position):
            return Skipped("superseded", positions(source))
    elif route.ring and _written_later(destination, source, route):
        return Skipped("superseded", positions(source))
    return Copy(Precondition(replace=destination.version))


def conflict_on_delete(claim: Claim, destination: ObjectMeta | None) -> Remove | Skipped:
    """A delete is due and the ledger does not know what the destination holds: only what came from this source goes."""
    if destination is None:
        return Skipped("gone")
    if stamp.read(destination).source != stamp.origin(claim.transfer.source):
        return Skipped("foreign")
    return Remove(Precondition(replace=destination.version))


def positions(source: ObjectMeta | None) -> tuple[Position, ...]:
    """Where the destination key stands once this is settled: at the version seen. What an event claims is not believed."""
    return () if source is None or source.position is None else (source.position,)


def _gone(claim: Claim, route: Route) -> Decision:
    placed = claim.placement
    if claim.transfer.change is Change.CREATED or route.deletes != "propagate":
        return Skipped("gone")
    if placed is None or placed.deleted or not placed.version:
        return (
            CheckDestination()
        )  # a tombstone too: a worker may have written after it, and died before it could say so
    if not placed.is_from(claim.transfer.source):
        return Skipped("foreign")
    return Remove(Precondition(replace=placed.version))


def _untouched(placed: Placement | None, transfer: Transfer, source: ObjectMeta, destination: ObjectMeta) -> bool:
    """Whether the destination still holds what was written there of this very version."""
    return (
        placed is not None
        and placed.is_from(transfer.source)
        and not placed.deleted
        and placed.source.version == source.version
        and placed.version == destination.version
    )


def _write(claim: Claim) -> Decision:
    placed = claim.placement
    if placed is None or placed.deleted:
        return Copy(Precondition(create_only=True))
    return Copy(Precondition(replace=placed.version)) if placed.version else CheckDestination()


def _filtered(route: Route, source: ObjectMeta, age: float, now: float) -> str | Later:
    if source.size < route.min_size or (route.max_size is not None and source.size > route.max_size):
        return "filtered"
    if route.max_age is not None and age > route.max_age:
        return "filtered"
    return Later(now + route.min_age - age) if age < route.min_age else ""


def _age(source: ObjectMeta, transfer: Transfer, now: float) -> float:
    """Seconds since the last change. Anybody may date a file ahead, and clocks differ: then the event tells more."""
    return max(0.0, now - (source.modified if source.modified <= now else transfer.occurred_at))


def _later(stamped: Position | None, seen: Position | None) -> bool:
    return (
        stamped is not None
        and seen is not None
        and seen.exact
        and stamped.scheme == seen.scheme
        and stamped.value > seen.value
    )


def _written_later(destination: ObjectMeta, source: ObjectMeta, route: Route) -> bool:
    """Of two that were written at the same time, the same one at both stores."""
    there, here = stamp.written(destination), stamp.written(source)
    return there > here or (there == here and route.store_mark > route.source_mark)


def _destination(claim: Claim, route: Route) -> ObjectRef:
    return ObjectRef(route.store_provider, route.store_bucket, claim.transfer.key)
