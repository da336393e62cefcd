"""How many absences are believed. Pure."""

from __future__ import annotations

from skyferry.config.max_deletes import MaxDeletes
from skyferry.frozen import dataclass
from skyferry.ports.ledger.held_deletes import Why

FEW = 10  # deletes seen at once that the share does not limit, unless nothing is left


@dataclass(frozen=True, slots=True)
class Missing:
    """What one look did not find of the objects that one route has copied."""

    count: int
    seen: bool = False  # their removal was watched: the folder has been the same all the time
    empty: bool = False  # the source holds no object at all
    same: bool = True  # the source is what it was


def reason(limit: MaxDeletes, missing: Missing, known: int) -> Why | None:
    """Return why these deletes must wait; None if they need not. `known` objects, of which it may count enough only."""
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


def enough(limit: MaxDeletes, missing: int) -> int:
    """How many known objects to count, so that `reason` does not depend on the rest."""
    share = missing / limit.share if limit.share else 0.0
    return int(max(missing, share)) + 1
