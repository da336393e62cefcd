"""Write under a precondition, and decide again when it fails: another writer was faster, or this one was, unnoticed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from skyferry.engine.copy import decisions
from skyferry.engine.copy.plan import CopyContext, CopyPlan
from skyferry.engine.copy.verify import drop_unsupported, find_fault, refuse_written
from skyferry.errors import PreconditionFailed
from skyferry.model import Checksums, ObjectMeta
from skyferry.ports import ANY, Precondition, Skipped

RACES = 8  # decisions about lost races within one attempt
Write = Callable[[Precondition], Awaitable[ObjectMeta]]


async def write_verified(plan: CopyPlan, sent: Checksums, write: Write, *, exact: bool = True) -> ObjectMeta | Skipped:
    """Write and verify; decide again while the precondition fails. Skipped: a write has become needless.

    If this kind of write supports no precondition (`exact` False), look at the destination just before it instead.
    """
    context, when = plan.context, plan.when
    untried = context.claim.attempt == 1 and not context.claim.lost
    for _ in range(RACES):
        context.attempt.ensure_lease_held()
        if exact or when == ANY:
            try:
                made = await write(when)
            except PreconditionFailed as refused:
                untried = untried and refused.tries == 1  # the response to another try may have been lost
            except asyncio.CancelledError:
                context.attempt.change_aborted = True
                raise
            else:
                if fault := find_fault(plan.found.size, sent, made):
                    await refuse_written(context.destination, context.transfer.key, made, fault)
                return made
        verdict = await settle_race(plan, sent)
        if not isinstance(verdict, Precondition):
            context.attempt.found = untried
            return verdict
        when = verdict if exact else ANY
    raise unstable(context)


async def settle_race(plan: CopyPlan, sent: Checksums) -> Skipped | ObjectMeta | Precondition:
    """Look at a destination that was not as expected.

    Return its metadata if it has this very version, proven by `sent`; Skipped if it is newer; else the next precondition.
    """
    context, source = plan.context, plan.found
    found = await context.find_destination()
    verdict = decisions.decide_conflict(context.claim, context.route, source, found)
    if isinstance(verdict, Skipped):
        return verdict
    if isinstance(verdict, decisions.Update):
        return drop_unsupported(Precondition(replace=verdict.destination.version), context.destination.traits)
    if isinstance(verdict, decisions.Adopt) and found is not None:
        if found.size == source.size and _is_proven(found.checksums, sent, source.checksums):
            return found
        verdict = decisions.Copy(Precondition(replace=found.version))
    assert isinstance(verdict, decisions.Copy)
    return drop_unsupported(verdict.when, context.destination.traits)


def _is_proven(found: Checksums, *known: Checksums) -> bool:
    """Return True if a known digest of the bytes is among those found, and none differs.

    Known are the digests of what was sent, and those that the source declares. Azure, for one, returns the CRC64 in the answer to
    a write, but later only the MD5.
    """
    return any(found.comparable_with(each) for each in known) and not any(found.find_conflict(each) for each in known)


def unstable(context: CopyContext) -> PreconditionFailed:
    """Return the error of an attempt whose destination object changes again and again."""
    return PreconditionFailed(
        f"the destination object changed during each of {RACES} tries",
        where=f"{context.transfer.store} {context.transfer.key}",
        hint="check what else writes this key",
    )
