"""How long messages can be held, and who takes them away: what a queue tells of itself, judged. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from skyferry.doctor.check import Check, Place
from skyferry.ports.inspection import QueueFacts, Redrive, Unknown

MARGIN = 10  # leases are renewed three times within their length, and each renewal may have to be sent again


def judged(place: Place, facts: QueueFacts, max_retries: int) -> Iterator[Check]:
    """What needs no trying, but for the lease."""
    yield place.told("identity", facts.who)
    yield from (place.wrong("settings", wrong.what, wrong.hint) for wrong in facts.wrong)
    yield _receives(place, facts.receives)
    yield redrive(place, facts.redrive, max_retries)
    yield place.told("encryption", facts.encryption)
    if facts.notes:
        yield place.ok("setup", "; ".join(facts.notes))


def lease(place: Place, seconds: float, took: float, longest_hold: float = math.inf) -> Check:
    """`took` is what a request to the queue took (seconds). How long a copy takes is no matter: leases are renewed."""
    said = f"{seconds:g} s, renewed while a copy lasts"
    if longest_hold < math.inf:
        hours = longest_hold / 3600
        said += f", {hours:g} hours at most (a longer one goes on when the message comes again)"
    if seconds >= MARGIN * took:
        return place.ok("lease", f"{said}; a request takes {took:.2f} s")
    detail = f"{seconds:g} s, and a request takes {took:.1f} s: a renewal may come too late"
    return place.wrong("lease", detail, f"set the queue's lease to {math.ceil(MARGIN * took)}s or more")


def receives(max_retries: int) -> int:
    """How often a message may be received before Skyferry has given it up: the first time, each retry, and once more."""
    return max_retries + 2


def redrive(place: Place, policy: Redrive | Unknown | None, max_retries: int) -> Check:
    """Each retry gives the message back, so it is received once more; so it is after an outage, which counts as no retry."""
    if isinstance(policy, Unknown):
        return place.unknown("redrive", policy)
    if policy is None:
        return place.ok("redrive", "it has no redrive policy")
    needed = receives(max_retries)
    said = f"after {policy.receives} receives to {policy.target}"
    if policy.receives >= needed:
        return place.ok("redrive", f"{said}; an outage uses some up, too")
    hint = f"raise its maximum of receives to {needed} or more, or lower retry.max_retries ({max_retries})"
    return place.wrong("redrive", f"{said}, and {max_retries} retries need {needed}", hint)


def _receives(place: Place, may: bool | Unknown) -> Check:
    if isinstance(may, Unknown):
        return place.unknown("receive", f"not tried: {may.reason}", "--events receives")
    if may:
        return place.ok("receive", "by what the provider says, not tried")
    return place.wrong("receive", "the provider says that we may not", "`skyferry policy` prints what it needs")
