"""One attempt at one transfer: look, decide, copy, prove. Large objects go through `engine.parts`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from skyferry.config.routes import Route
from skyferry.engine import decide, stamp
from skyferry.engine.admission import MemoryBudget, Slot
from skyferry.engine.digest import digest
from skyferry.engine.parts import PartCopier, PartLimits, Source
from skyferry.errors import ChecksumMismatch, Fenced, ObjectNotFound, PreconditionFailed
from skyferry.model import Change, Checksums, Claim, ObjectMeta, Placement, Receipt, Traits, Transfer
from skyferry.ports import ANY, Clock, Done, ObjectData, ObjectStore, Offload, Precondition, Released, Skipped

RACES = 8  # how often a lost race is decided again within one attempt


@dataclass(slots=True)
class Attempt:
    """A claim being worked on, and what the worker knows of it meanwhile."""

    claim: Claim
    slot: Slot
    lost: bool = False  # the lease went to another worker

    def still_ours(self) -> None:
        """Raises Fenced if not. Asked before every effect at the destination."""
        if self.lost:
            raise Fenced


class Copier:
    """Carries transfers out. Holds at most the memory budget, whatever the objects' sizes."""

    def __init__(
        self,
        stores: Mapping[str, ObjectStore],
        budget: MemoryBudget,
        offload: Offload,
        clock: Clock,
        limits: PartLimits,
    ) -> None:
        self._stores, self._budget, self._offload, self._clock, self._limits = stores, budget, offload, clock, limits
        self._parts = PartCopier(budget, offload, limits)

    async def run(self, attempt: Attempt, route: Route) -> Done | Skipped | Released:
        """The outcome; failures are raised as StoreError."""
        claim = attempt.claim
        if skipped := decide.before(claim):
            return skipped
        started = self._clock.time()
        source = self._stores[claim.transfer.source_store]
        if claim.transfer.change is Change.DELETED:
            meta = await _head(source, claim.transfer.source.key)
            if meta is None:
                return await self._settle_gone(attempt, route, started)
            return await self._copy(attempt, route, started, min(meta.size, self._limits.size))
        hint = claim.transfer.size
        known = hint is not None and hint <= self._limits.size
        return await self._copy(
            attempt, route, started, hint if known and hint is not None else self._limits.first_read
        )

    async def _copy(self, attempt: Attempt, route: Route, started: float, first: int) -> Done | Skipped | Released:
        """Read at most `first` bytes. If that was all, write them; if not, start again knowing the size."""
        source = self._stores[attempt.claim.transfer.source_store]
        key = attempt.claim.transfer.source.key
        async with self._budget.reserve(max(first, 1)):
            try:
                got = await source.read(key, 0, max(first, 1))
            except ObjectNotFound:
                return await self._settle_gone(attempt, route, started)
            decision = await self._look(attempt, route, got.meta)
            if not isinstance(decision, decide.Copy):
                return Released(decision.at) if isinstance(decision, decide.Later) else decision
            if len(got.data) == got.meta.size:
                return await self._write_whole(attempt, route, started, got, decision.when)
        if got.meta.size <= self._limits.size:
            return await self._copy(attempt, route, started, got.meta.size)
        await attempt.slot.enlarge()
        return await self._write_parts(attempt, route, started, got.meta, decision.when)

    async def _look(self, attempt: Attempt, route: Route, meta: ObjectMeta) -> decide.Copy | decide.Later | Skipped:
        claim = attempt.claim
        decision = decide.looked(claim, route, meta, self._clock.time())
        store = self._stores[claim.transfer.store]
        if isinstance(decision, decide.Copy) and not _honoured(decision.when, store.traits):
            decision = decide.CheckDestination()
        if not isinstance(decision, decide.CheckDestination):
            assert not isinstance(decision, decide.Remove)  # only for what is gone
            return decision
        again = decide.conflict(claim, meta, await _head(store, claim.transfer.key))
        if isinstance(
            again, decide.Adopt
        ):  # the bytes are compared when the write is refused; without preconditions, trust the stamp
            return decide.Copy(Precondition(create_only=True)) if store.traits.create_only else Skipped("current")
        return replace(again, when=_weakened(again.when, store.traits)) if isinstance(again, decide.Copy) else again

    async def _write_whole(
        self, attempt: Attempt, route: Route, started: float, got: ObjectData, when: Precondition
    ) -> Done | Skipped:
        claim, transfer = attempt.claim, attempt.claim.transfer
        store = self._stores[transfer.store]
        computed = await digest(got.data, self._offload)
        declared = _verify_source(claim, got.meta, computed)
        attributes = stamp.stamped(transfer, got.meta, route.metadata, computed)
        for _ in range(RACES):
            attempt.still_ours()
            try:
                written = await store.write(transfer.key, got.data, attributes, computed, when)
            except PreconditionFailed:
                verdict = await self._race(claim, got.meta, computed)
                if isinstance(verdict, Skipped):
                    return verdict
                if isinstance(verdict, ObjectMeta):
                    written = verdict
                else:
                    when = verdict
                    continue
            else:
                await _verify_destination(store, transfer.key, got.meta.size, computed, written)
            return await self._finished(attempt, route, started, got.meta, written, computed, declared)
        raise PreconditionFailed("it keeps changing", where=f"{transfer.store} {transfer.key}")

    async def _write_parts(
        self, attempt: Attempt, route: Route, started: float, meta: ObjectMeta, when: Precondition
    ) -> Done | Skipped:
        claim, transfer = attempt.claim, attempt.claim.transfer
        store = self._stores[transfer.store]
        attributes = stamp.stamped(transfer, meta, route.metadata, meta.checksums)
        source = Source(self._stores[transfer.source_store], transfer.source.key, meta)
        async with self._parts.upload(source, store, transfer.key, attributes, attempt.still_ours) as sent:
            declared = _verify_source(claim, meta, sent.checksums)
            for _ in range(RACES):
                attempt.still_ours()
                try:
                    written = await store.finish_upload(sent.upload, sent.parts, sent.checksums, when)
                except PreconditionFailed:
                    verdict = await self._race(claim, meta, sent.checksums)
                    if isinstance(verdict, Skipped):
                        return verdict
                    if isinstance(verdict, ObjectMeta):
                        written = verdict
                    else:
                        when = verdict
                        continue
                else:
                    sent.finished = True
                    await _verify_destination(store, transfer.key, meta.size, sent.checksums, written)
                return await self._finished(attempt, route, started, meta, written, sent.checksums, declared)
        raise PreconditionFailed("it keeps changing", where=f"{transfer.store} {transfer.key}")

    async def _race(self, claim: Claim, source: ObjectMeta, computed: Checksums) -> Skipped | ObjectMeta | Precondition:
        """The destination was not as expected: it is ours already (its meta), or newer (Skipped), or to be replaced."""
        store = self._stores[claim.transfer.store]
        found = await _head(store, claim.transfer.key)
        verdict = decide.conflict(claim, source, found)
        if isinstance(verdict, Skipped):
            return verdict
        if isinstance(verdict, decide.Adopt) and found is not None:
            proven = found.size == source.size and found.checksums.shares(computed)
            if proven and not found.checksums.conflict(computed):
                return found
            verdict = decide.Copy(Precondition(replace=found.version))
        assert isinstance(verdict, decide.Copy)
        return _weakened(verdict.when, store.traits)

    async def _finished(
        self,
        attempt: Attempt,
        route: Route,
        started: float,
        source: ObjectMeta,
        written: ObjectMeta,
        computed: Checksums,
        declared: Checksums,
    ) -> Done:
        transfer = attempt.claim.transfer
        if route.after_copy == "delete":
            attempt.still_ours()
            with suppress(PreconditionFailed):  # it changed meanwhile: that version has an event of its own
                await _delete_version(self._stores[transfer.source_store], transfer.source.key, source.version)
        return self._done(attempt, started, source, written, computed, declared)

    async def _settle_gone(self, attempt: Attempt, route: Route, started: float) -> Done | Skipped:
        claim, transfer = attempt.claim, attempt.claim.transfer
        decision = decide.looked(claim, route, None, self._clock.time())
        store = self._stores[transfer.store]
        for _ in range(RACES):
            if isinstance(decision, decide.CheckDestination):
                decision = decide.conflict_on_delete(claim, await _head(store, transfer.key))
            if not isinstance(decision, decide.Remove):
                assert isinstance(decision, Skipped)  # what is gone is neither copied nor too young
                return decision
            attempt.still_ours()
            try:
                await _delete_version(store, transfer.key, decision.when.replace)
            except PreconditionFailed:
                decision = decide.CheckDestination()
            else:
                return self._done(attempt, started, None, None, Checksums(), Checksums())
        raise PreconditionFailed("it keeps changing", where=f"{transfer.store} {transfer.key}")

    async def undo(self, transfer: Transfer, done: Done) -> None:
        """The claim was lost while this was written, so it is not recorded: take it back, unless it is still the newest.

        Otherwise a worker that stood still could bring back what a delete, settled meanwhile, has removed.
        """
        placed = done.placement
        newest = await _head(self._stores[transfer.source_store], transfer.source.key)
        if newest is None or newest.version != placed.source.version:
            with suppress(PreconditionFailed):  # somebody has replaced it already
                await _delete_version(self._stores[placed.store], placed.key, placed.version)

    def _done(
        self,
        attempt: Attempt,
        started: float,
        source: ObjectMeta | None,
        written: ObjectMeta | None,
        computed: Checksums,
        declared: Checksums,
    ) -> Done:
        claim, transfer, now = attempt.claim, attempt.claim.transfer, self._clock.time()
        source_version, version = source.version if source else "", written.version if written else ""
        seen = decide.positions(claim, source)
        receipt = Receipt(
            source_version=source_version,
            destination_version=version,
            size=source.size if source else 0,
            computed=computed,
            declared=declared,
            attested=written.checksums if written else Checksums(),
            position=seen[-1] if seen else None,
            started_at=started,
            finished_at=now,
            attempt=claim.attempt,
        )
        placement = Placement(
            store=transfer.store,
            key=transfer.key,
            source=replace(transfer.source, version=source_version),
            deleted=written is None,
            positions=seen,
            occurred_at=transfer.occurred_at,
            version=version,
            transfer_id=transfer.id,
            settled_at=now,
        )
        return Done(receipt, placement)


async def _head(store: ObjectStore, key: str) -> ObjectMeta | None:
    try:
        return await store.head(key)
    except ObjectNotFound:
        return None


async def _delete_version(store: ObjectStore, key: str, version: str) -> None:
    """Delete this version and no other, as exactly as the store can. Raises PreconditionFailed."""
    if not store.traits.delete_exact:
        found = await _head(store, key)
        if found is None or found.version != version:
            raise PreconditionFailed
    await store.delete(key, Precondition(replace=version) if store.traits.delete_exact else ANY)


def _honoured(when: Precondition, traits: Traits) -> bool:
    return (traits.create_only or not when.create_only) and (traits.replace_exact or not when.replace)


def _weakened(when: Precondition, traits: Traits) -> Precondition:
    """What the store can hold of it; the destination was looked at just now."""
    return when if _honoured(when, traits) else ANY


def _verify_source(claim: Claim, meta: ObjectMeta, computed: Checksums) -> Checksums:
    """What was read is what the event and the source declare; returns what was declared."""
    event = claim.transfer.checksums
    for declared, who in ((meta.checksums, "the source store"), (event, "the event")):
        if name := computed.conflict(declared):
            raise ChecksumMismatch(
                f"{name} of the bytes read is not what {who} declares",
                where=f"{claim.transfer.source_store} {meta.key}",
                hint="" if declared is meta.checksums else "the object may have been overwritten since the event",
            )
    return Checksums(**{n: getattr(meta.checksums, n) or getattr(event, n) for n in _DIGESTS})


_DIGESTS = ("crc32c", "sha256", "md5", "crc64nvme")


async def _verify_destination(
    store: ObjectStore, key: str, size: int, computed: Checksums, written: ObjectMeta
) -> None:
    """The destination's own attestation matches; otherwise what was written is taken away again."""
    wrong = computed.conflict(written.checksums) or ("size" if written.size != size else "")
    if not wrong and not computed.shares(written.checksums):
        wrong = "attestation (there is none)"
    if wrong:
        with suppress(PreconditionFailed):  # somebody has replaced it already
            await _delete_version(store, key, written.version)
        raise ChecksumMismatch(
            f"{wrong} of the object written is not that of the bytes sent", where=f"{store.name} {key}"
        )
