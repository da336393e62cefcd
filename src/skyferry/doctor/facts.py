"""What a bucket tells of itself, judged by what routes need of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from skyferry.config.identity import IdentitySettings
from skyferry.doctor.check import Check, CheckState, CheckSubject
from skyferry.doctor.requirements import StoreRequirements
from skyferry.ports.inspection import BucketFacts, Unknown

SKEW = 60.0  # seconds that a store's clock may differ from ours: positions in time would not compare
NTP = "see that this machine's clock is set (NTP)"
KEPT = "end the retention, or let the route's key template give each version a key of its own"
GRANT = "grant it to this identity: `skyferry policy` prints what it needs"


def check_bucket_facts(place: CheckSubject, facts: BucketFacts, needs: StoreRequirements) -> Iterator[Check]:
    """What needs no trying."""
    yield place.ok("reach", facts.endpoint)
    yield place.told("identity", facts.who)
    yield from (place.wrong("settings", wrong.what, wrong.hint) for wrong in facts.wrong)
    yield place.told("region", facts.region)
    yield check_clock(place, facts.skew)
    yield place.told("versioning", facts.versioning)
    yield place.told("encryption", facts.encryption)
    if facts.kept and (needs.writes or needs.removes):
        must = needs.deletes or needs.removes
        yield place.wrong("retention", facts.kept, KEPT) if must else place.unknown("retention", facts.kept, KEPT)


def add_configured_identity(check: Check, who: IdentitySettings) -> Check:
    """Who we are, where nobody tells: as whom the settings say."""
    if check.name != "identity" or check.state is not CheckState.UNKNOWN:
        return check
    named = (who.role_arn, who.service_account, who.pool and f"pool {who.pool}/{who.provider}", who.client_id)
    said = " ".join(filter(None, (who.kind, *named)))
    return replace(check, detail=f"{check.detail}; by the settings: {said}")


def check_clock(place: CheckSubject, skew: float | Unknown) -> Check:
    """`skew` in seconds."""
    if isinstance(skew, Unknown):
        return place.unknown("clock", skew)
    if abs(skew) <= SKEW:
        return place.ok("clock", f"within {max(2, round(abs(skew)))} s")
    return place.wrong("clock", f"it is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}", NTP)


def check_permission(place: CheckSubject, right: str, facts: BucketFacts | Unknown, how: str) -> Check:
    """Whether we have a right (WRITE, DELETE) that is not tried, by what the provider says. `how` would try it."""
    if isinstance(facts, Unknown) or isinstance(facts.allowed, Unknown):
        return place.unknown(right, "not tried", how)
    if right in facts.allowed:
        return place.ok(right, "by what the provider says, not tried")
    return place.wrong(right, "the provider says that we may not", GRANT)
