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
    receipt = Receipt(
        source_version=source.version,
        destination_version=written.meta.version,
        size=source.size,
        computed=written.computed,
        declared=written.declared,
        attested=written.meta.checksums,
        position=source.position,
        started_at=now - duration,
        finished_at=now,
        attempt=context.claim.attempt,
        changes=written.changes,
        in_place=written.in_place,
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
    return Placement(
        store=transfer.store,
        key=transfer.key,
        source=ObjectRef(ref.provider, ref.bucket, ref.key, ref.region, version, ref.account, ref.endpoint),
        deleted=made is None,
        positions=decisions.collect_positions(source),
        occurred_at=min(source.modified if source else transfer.occurred_at, now),
        version=made.version if made else "",
        transfer_id=transfer.id,
        settled_at=now,
        identity=next(iter(transfer.identities), ""),
        carried=carried or (digest_attributes(source.attributes) if source else ""),
    )
