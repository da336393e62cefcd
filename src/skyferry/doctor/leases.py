"""How long messages can be held, and who takes them away: what a queue tells of itself, judged. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from skyferry.doctor.check import Check, CheckSubject
from skyferry.doctor.copy_time import FIRST, ReadSpeed
from skyferry.engine.consume.waiting import DISMISSED
from skyferry.ports.inspection import QueueFacts, Redrive, Unknown

MARGIN = 10  # leases are renewed three times within their length, and each renewal may have to be sent again
OUTAGE = 12 * 3600.0  # seconds of waiting that a redrive policy must allow for
NEAR = 0.5  # of the longest hold: the estimate is of reading alone, and writing may take as long again


def check_queue_facts(place: CheckSubject, facts: QueueFacts) -> Iterator[Check]:
    """What needs no trying, but for the lease."""
    yield place.told("identity", facts.who)
    yield from (place.wrong("settings", wrong.what, wrong.hint) for wrong in facts.wrong)
    yield _right(place, "receive", facts.receives, "--events receives")
    yield check_redrive_policy(place, facts.redrive, facts.longest_hold)
    yield place.told("encryption", facts.encryption)
    if facts.notes:
        yield place.ok("setup", "; ".join(facts.notes))


def check_lease(place: CheckSubject, seconds: float, took: float, longest_hold: float = math.inf) -> Check:
    """`took` is what a request to the queue took (seconds), for leases are renewed. How long a copy takes: `copy_time`."""
    said = f"{seconds:g} s, renewed while a copy lasts"
    if longest_hold < math.inf:
        hours = longest_hold / 3600
        said += f", {hours:g} hours at most (a longer one goes on when the message comes again)"
    if seconds >= MARGIN * took:
        return place.ok("lease", f"{said}; a request takes {took:.2f} s")
    detail = f"{seconds:g} s, and a request takes {took:.1f} s: a renewal may come too late"
    return place.wrong("lease", detail, f"set the queue's lease to {math.ceil(MARGIN * took)}s or more")


def check_copy_time(place: CheckSubject, lease: float, pace: ReadSpeed | None, longest_hold: float = math.inf) -> Check:
    """The expected time of a copy against lease and longest hold (seconds). An estimate, so nothing is wrong by it."""
    if pace is None:
        said = "no object that comes by this queue was read to estimate it by"
        return place.unknown("copy-time", said, "put one at the source and ask again")
    rate = pace.size / pace.seconds / 2**20 if pace.seconds > 0 else math.inf
    expected = f"about {_span(pace.seconds)}" if pace.seconds >= 1 else "less than 1 s"
    which = f"{pace.key} at {pace.store}, the largest of the first {FIRST:,} objects"
    said = f"{expected} for {which} ({pace.size / 2**20:,.1f} MiB, read at {rate:,.1f} MiB/s): "
    if pace.seconds <= lease:
        return place.ok("copy-time", f"{said}within the lease of {lease:g} s")
    if pace.seconds < NEAR * longest_hold:
        said += f"longer than the lease of {lease:g} s, which is renewed every {round(lease / 3, 1):g} s; "
        said += f"should its worker die or stand still, the message comes again within {lease:g} s"
        return place.ok("copy-time", said)
    said += f"a message can be held for {_span(longest_hold)}, however often its lease is renewed, and then comes again"
    hint = "run nearer to the stores, or raise limits.part_concurrency; a redrive policy must leave receives to spare"
    return place.unknown("copy-time", said, hint)


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 3600 else f"{seconds / 3600:.1f} hours".replace(".0 ", " ")


def expected_receives(longest_hold: float) -> int:
    """How often a message is received at most while it waits for OUTAGE seconds, and its worker is restarted once meanwhile.

    The first time; each time that it is given back because too many wait; after each longest hold; after the restart.
    """
    return 1 + len(DISMISSED) + math.ceil(OUTAGE / max(longest_hold, 1.0)) * (longest_hold < math.inf) + 1


def check_redrive_policy(place: CheckSubject, policy: Redrive | Unknown | None, longest_hold: float) -> Check:
    """What waits does so in hand, and takes few receives, whatever it waits for: retries and outages take none of their own."""
    if isinstance(policy, Unknown):
        return place.unknown("redrive", policy)
    if policy is None:
        return place.ok("redrive", "it has no redrive policy")
    needed = expected_receives(longest_hold)
    said = f"after {policy.receives} receives to {policy.target}"
    waits = f"to wait for {_span(OUTAGE)}, with one restart, takes {needed} at most"
    if policy.receives >= needed:
        return place.ok("redrive", f"{said}; {waits}")
    return place.wrong("redrive", f"{said}, and {waits}", f"raise its maximum of receives to {needed} or more")


def check_sending(place: CheckSubject, may: bool | Unknown) -> Check:
    """To send a dead letter would leave a message, so it is not tried."""
    return _right(place, "send", may, "the first dead letter tries; as long as it may not, it waits in the ledger")


def _right(place: CheckSubject, name: str, may: bool | Unknown, how: str) -> Check:
    if isinstance(may, Unknown):
        return place.unknown(name, f"not tried: {may.reason}", how)
    if may:
        return place.ok(name, "by what the provider says, not tried")
    return place.wrong(name, "the provider says that we may not", "`skyferry policy` prints what it needs")
