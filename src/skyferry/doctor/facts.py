"""Check the facts of a bucket against the requirements of the routes. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from skyferry.config.identity import IdentitySettings
from skyferry.doctor.check import Check, CheckState, CheckSubject
from skyferry.doctor.requirements import StoreRequirements
from skyferry.ports.inspection import BucketFacts, Unknown

SKEW = 60.0  # seconds between the clocks of store and machine; positions in time would not compare
NTP = "Set the clock of this machine (NTP)."
KEPT = "End the retention, or use a key template that makes a new key for each version."
GRANT = "Grant it to this identity: `skyferry policy` prints the permissions."


def check_bucket_facts(place: CheckSubject, facts: BucketFacts, needs: StoreRequirements) -> Iterator[Check]:
    """Yield the checks that need no request."""
    yield place.ok("reach", facts.endpoint)
    yield place.report("identity", facts.who)
    yield from (place.wrong("settings", wrong.what, wrong.hint) for wrong in facts.wrong)
    yield place.report("region", facts.region)
    if facts.service:
        yield place.report("service", facts.service)
    yield check_clock(place, facts.skew)
    yield place.report("versioning", facts.versioning)
    yield place.report("encryption", facts.encryption)
    if facts.kept and (needs.writes or needs.removes):
        must = needs.deletes or needs.removes
        yield place.wrong("retention", facts.kept, KEPT) if must else place.unknown("retention", facts.kept, KEPT)


def add_configured_identity(check: Check, who: IdentitySettings) -> Check:
    """Add the identity of the settings where the provider does not report one."""
    if check.name != "identity" or check.state is not CheckState.UNKNOWN:
        return check
    named = (who.role_arn, who.service_account, who.pool and f"pool {who.pool}/{who.provider}", who.client_id)
    said = " ".join(filter(None, (who.kind, *named)))
    return replace(check, detail=f"{check.detail}; by the settings: {said}")


def check_clock(place: CheckSubject, skew: float | Unknown) -> Check:
    """Check the difference of the clocks, in seconds."""
    if isinstance(skew, Unknown):
        return place.unknown("clock", skew)
    if abs(skew) <= SKEW:
        return place.ok("clock", f"within {max(2, round(abs(skew)))} s")
    return place.wrong("clock", f"it is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}", NTP)


def check_permission(place: CheckSubject, right: str, facts: BucketFacts | Unknown, how: str) -> Check:
    """Check a permission (WRITE, DELETE) by the provider's answer, without trying it. `how` names the option that tries it."""
    if isinstance(facts, Unknown) or isinstance(facts.allowed, Unknown):
        return place.unknown(right, "not tried", how)
    if right in facts.allowed:
        return place.ok(right, "by the provider's answer, not tried")
    return place.wrong(right, "the provider denies it", GRANT)
