"""Limits on the number of deletes that are sent without a person's decision. Pure."""

from __future__ import annotations

from skyferry.config.max_deletes import MaxDeletes
from skyferry.frozen import dataclass
from skyferry.ports.ledger.held_deletes import Why

FEW = 10  # watched deletes at once that `share` does not limit, unless no object is left


@dataclass(frozen=True, slots=True)
class MissingObjects:
    """The objects copied by one route that one listing lacks."""

    count: int
    seen: bool = False  # their removal was watched, so the folder was not replaced meanwhile
    empty: bool = False  # the source has no objects
    same: bool = True  # the source has its known identity


def find_hold_reason(limit: MaxDeletes, missing: MissingObjects, known: int) -> Why | None:
    """Return the reason why these deletes must wait, or None. `known` objects may be counted only up to `count_needed`."""
    if not missing.same:
        return "replaced"
    if limit.none or not missing.count:
        return None
    if limit.absolute is not None and missing.count > limit.absolute:
        return "limit"
    if missing.count >= known and (missing.empty or (missing.seen and missing.count > 1)):
        return "empty"
    if limit.share is None or missing.count < 2 or (missing.seen and missing.count <= FEW):
        return None
    return "limit" if missing.count > limit.share * known else None


def count_needed(limit: MaxDeletes, missing: int) -> int:
    """Return the number of known objects to count: more do not change the reason."""
    share = missing / limit.share if limit.share else 0.0
    return int(max(missing, share)) + 1
