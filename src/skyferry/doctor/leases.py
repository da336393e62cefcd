"""Check the facts of a queue: leases, redrive policy, permissions. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from skyferry.doctor.check import Check, CheckSubject
from skyferry.doctor.copy_time import FIRST, ReadSpeed
from skyferry.engine.consume.waiting import DISMISSED
from skyferry.ports.inspection import OUTAGE, QueueFacts, Redrive, Unknown

MARGIN = 10  # leases are renewed three times in their length, and each renewal may need a retry
NEAR = 0.5  # of the longest lease: the estimate is of reading alone, and writing may take as long


def check_queue_facts(place: CheckSubject, facts: QueueFacts) -> Iterator[Check]:
    """Yield the checks that need no request, except that of the lease."""
    yield place.report("identity", facts.who)
    yield from (place.wrong("settings", wrong.what, wrong.hint) for wrong in facts.wrong)
    yield _right(place, "receive", facts.receives, "Run with --events to receive.")
    yield check_redrive_policy(place, facts.redrive, facts.traits.max_hold)
    yield place.report("encryption", facts.encryption)
    if facts.notes:
        yield place.ok("setup", "; ".join(facts.notes))


def check_lease(place: CheckSubject, seconds: float, took: float, max_hold: float = math.inf) -> Check:
    """Compare the lease with the duration of a request (seconds), for leases are renewed. See `check_copy_time` for copies."""
    said = f"{seconds:g} s, renewed during a copy"
    if max_hold < math.inf:
        hours = max_hold / 3600
        said += f", at most {hours:g} hours (a longer copy resumes when the message is redelivered)"
    if seconds >= MARGIN * took:
        return place.ok("lease", f"{said}; a request takes {took:.2f} s")
    detail = f"{seconds:g} s, and a request takes {took:.1f} s: a renewal may come too late"
    return place.wrong("lease", detail, f"Set the lease of the queue to at least {math.ceil(MARGIN * took)}s.")


def check_copy_time(place: CheckSubject, lease: float, pace: ReadSpeed | None, max_hold: float = math.inf) -> Check:
    """Compare the expected time of a copy with lease and longest lease (seconds). An estimate never makes the check wrong."""
    if pace is None:
        said = "no object of this queue's sources was read for an estimate"
        return place.unknown("copy-time", said, "Write an object to the source, and repeat the check.")
    expected = f"about {_span(pace.seconds)}" if pace.seconds >= 1 else "less than 1 s"
    which = f"{pace.key} at {pace.store}, the largest of the first {FIRST:,} objects"
    said = f"{expected} for {which} ({_describe_read(pace)}): "
    if pace.seconds <= lease:
        return place.ok("copy-time", f"{said}within the lease of {lease:g} s")
    if pace.seconds < NEAR * max_hold:
        said += f"longer than the lease of {lease:g} s, which is renewed every {round(lease / 3, 1):g} s; "
        said += f"if its worker dies or hangs, the message is redelivered within {lease:g} s"
        return place.ok("copy-time", said)
    said += f"a message can be leased for at most {_span(max_hold)}, with all renewals, and is then redelivered"
    hint = "Run closer to the stores, or raise limits.part_concurrency. A redrive policy must leave spare receives."
    return place.unknown("copy-time", said, hint)


def _describe_read(pace: ReadSpeed) -> str:
    """Return the size, and from 1 MiB on the speed: that of a small object is the time of a request."""
    if pace.size < 2**20:
        return f"{pace.size:,} B"
    rate = pace.size / pace.seconds / 2**20 if pace.seconds > 0 else math.inf
    return f"{pace.size / 2**20:,.1f} MiB, read at {rate:,.1f} MiB/s"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 3600 else f"{seconds / 3600:.1f} hours".replace(".0 ", " ")


def expected_receives(max_hold: float) -> int:
    """Return the most receives of a message that waits for OUTAGE seconds while its worker is restarted once.

    The first receive; one for each release because too many wait; one after each longest lease; one after the restart.
    """
    return 1 + len(DISMISSED) + math.ceil(OUTAGE / max(max_hold, 1.0)) * (max_hold < math.inf) + 1


def check_redrive_policy(place: CheckSubject, policy: Redrive | Unknown | None, max_hold: float) -> Check:
    """Check the maximum of receives. Waiting messages stay in flight, so retries and outages need no receives."""
    if isinstance(policy, Unknown):
        return place.unknown("redrive", policy)
    if policy is None:
        return place.ok("redrive", "it has no redrive policy")
    needed = expected_receives(max_hold)
    said = f"messages move to {policy.target} after {policy.receives} receives"
    waits = f"waiting for {_span(OUTAGE)} with one restart needs up to {needed}"
    if policy.receives >= needed:
        return place.ok("redrive", f"{said}; {waits}")
    return place.wrong("redrive", f"{said}, but {waits}", f"Raise the maximum of receives to at least {needed}.")


def check_sending(place: CheckSubject, may: bool | Unknown) -> Check:
    """Check the permission to send. It is not tried, for a message would remain."""
    return _right(
        place, "send", may, "The first dead letter tries it. Until it is permitted, dead letters stay in the ledger."
    )


def _right(place: CheckSubject, name: str, may: bool | Unknown, how: str) -> Check:
    if isinstance(may, Unknown):
        return place.unknown(name, f"not tried: {may.reason}", how)
    if may:
        return place.ok(name, "by the provider's answer, not tried")
    return place.wrong(name, "the provider denies it", "Grant it. `skyferry policy` prints the permissions at clouds.")
