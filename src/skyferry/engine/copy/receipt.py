"""Make the outcome of a finished attempt: its receipt and the placement of the destination key. Pure."""

from __future__ import annotations

from skyferry.engine.copy import decisions
from skyferry.engine.copy.attributes.carry import find_lost
from skyferry.engine.copy.plan import CopyContext
from skyferry.engine.copy.provenance import digest_attributes
from skyferry.frozen import dataclass
from skyferry.model import Checksums, ObjectMeta, ObjectRef, Placement, Receipt
from skyferry.ports import Done


@dataclass(frozen=True, slots=True)
class Written:
    """A verified object at the destination."""

    meta: ObjectMeta
    computed: Checksums  # of the bytes that passed through this process
    declared: Checksums  # by the source and the event
    changes: tuple[str, ...] = ()  # see `Receipt`
    in_place: bool = False  # only the attributes were written
    carried: str = ""  # digest of what the source version carries, if it is known already


def record_copy(context: CopyContext, source: ObjectMeta, written: Written, now: float, duration: float) -> Done:
    """Return the outcome of a copy of this source version."""
    receipt = Receipt(  # by position, which takes 3,300 instructions instead of 8,600
        source.version,
        written.meta.version,
        source.size,
        written.computed,
        written.declared,
        written.meta.checksums,
        source.position,
        now - duration,
        now,
        context.claim.attempt,
        written.changes,
        written.in_place,
    )
    placement = _placement(context, source, written.meta, now, written.carried)
    lost = () if context.attempt.found else find_lost(source.attributes, context.route, context.destination.traits)
    return Done(receipt, placement, context.attempt.found, lost)


def record_delete(context: CopyContext, now: float, duration: float) -> Done:
    """Return the outcome of a delete at the destination."""
    nothing = Checksums()
    receipt = Receipt("", "", 0, nothing, nothing, nothing, None, now - duration, now, context.claim.attempt)
    return Done(receipt, _placement(context, None, None, now))


def _placement(
    context: CopyContext, source: ObjectMeta | None, made: ObjectMeta | None, now: float, carried: str = ""
) -> Placement:
    transfer, ref = context.transfer, context.transfer.source
    version = source.version if source else ""
    return Placement(  # by position, as the receipt
        transfer.store,
        transfer.key,
        ObjectRef(ref.provider, ref.bucket, ref.key, ref.region, version, ref.account, ref.endpoint),
        made is None,
        decisions.collect_positions(source),
        min(source.modified if source else transfer.occurred_at, now),
        made.version if made else "",
        transfer.id,
        now,
        transfer.identities[0] if transfer.identities else "",
        carried or (digest_attributes(source.attributes) if source else ""),
    )
