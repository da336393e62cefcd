"""One attempt at one transfer: look, decide, copy, prove. Large objects go through `engine.parts`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from skyferry.engine.consume.attempt import Attempt, OpenUploads
from skyferry.engine.copy import decisions as decide
from skyferry.engine.copy import provenance as stamp
from skyferry.engine.copy import resuming as large
from skyferry.engine.copy import verify as proof
from skyferry.engine.copy.digests import digest
from skyferry.engine.copy.multipart import PartCopier, PartLimits
from skyferry.engine.copy.strategy import Way, can_copy_server_side, choose
from skyferry.engine.resilience.memory_budget import MemoryBudget
from skyferry.errors import ObjectNotFound, PreconditionFailed
from skyferry.model import Change, Checksums, ObjectMeta, Placement, Receipt, Transfer
from skyferry.ports import ANY, Clock, Done, ObjectData, ObjectStore, Offload, Precondition, Released, Skipped
from skyferry.routing.routes import Route

__all__ = ["Attempt", "Copier"]
RACES = 8  # how often a lost race is decided again within one attempt
AWAY = 10.0  # seconds between looks at a source that is not what it was
Write = Callable[[Precondition], Awaitable[ObjectMeta]]


async def _same(store: str, key: str) -> bool:
    """Nothing is known against it."""
    return True


@dataclass(frozen=True, slots=True)
class _Due:
    """A copy that is due: of which source version, and what the destination is expected to hold."""

    attempt: Attempt
    route: Route
    started: float  # monotonic: the clock may be set meanwhile
    found: ObjectMeta
    when: Precondition


class Copier:
    """Carries transfers out. Holds at most the memory budget, whatever the objects' sizes."""

    def __init__(
        self,
        stores: Mapping[str, ObjectStore],
        budget: MemoryBudget,
        offload: Offload,
        clock: Clock,
        limits: PartLimits,
        same: Callable[[str, str], Awaitable[bool]] = _same,
    ) -> None:
        """`same` tells whether a source is what it was when it had a key; if not, that is away, and not gone."""
        self._same = same
        self.stores, self._budget, self._offload, self._clock, self._limits = stores, budget, offload, clock, limits
        self._parts = PartCopier(budget, offload, limits)

    async def run(self, attempt: Attempt, route: Route) -> Done | Skipped | Released:
        """The outcome; failures are raised as StoreError."""
        transfer = attempt.claim.transfer
        if skipped := decide.before(attempt.claim):
            return skipped
        started = self._clock.monotonic()
        source, store = self.stores[transfer.source_store], self.stores[transfer.store]
        if transfer.change is Change.DELETED or can_copy_server_side(source, store):
            return await self._by_size(attempt, route, started)
        hint = transfer.size
        known = hint is not None and hint <= self._limits.size
        return await self._copy(
            attempt, route, started, hint if known and hint is not None else self._limits.first_read
        )

    async def give_up(self, transfer: Transfer, uploads: OpenUploads) -> None:
        """Abort the uploads to its destination key that are still open: it is settled, nobody will go on with them."""
        if (store := self.stores.get(transfer.store)) is None:
            return  # its route is gone, and the store with it: `skyferry gc` says what is left there
        for progress in list(uploads.known.values()):
            await large.give_up(store, uploads, progress)

    async def _by_size(self, attempt: Attempt, route: Route, started: float) -> Done | Skipped | Released:
        """Look at the source before any of it is read: it may be gone, or the provider may copy it by itself."""
        transfer = attempt.claim.transfer
        source, store = self.stores[transfer.source_store], self.stores[transfer.store]
        found = await proof.head(source, transfer.source.key)
        if found is None:
            return await self._settle_gone(attempt, route, started)
        if can_copy_server_side(source, store):
            due = await self._look(attempt, route, started, found)
            if not isinstance(due, _Due):
                return due
            match choose(store, found, transfer.checksums, due.when, self._limits):
                case Way.WHOLE:
                    return await self._copy_whole(due)
                case Way.PARTS:
                    await attempt.slot.enlarge()
                    return await self._write_parts(due, by_provider=True)
        return await self._copy(attempt, route, started, min(found.size, self._limits.size))

    async def _copy(self, attempt: Attempt, route: Route, started: float, first: int) -> Done | Skipped | Released:
        """Read at most `first` bytes. If that was all, write them; if not, start again knowing the size."""
        source = self.stores[attempt.claim.transfer.source_store]
        key = attempt.claim.transfer.source.key
        async with self._budget.reserve(max(first, 1)):
            try:
                got = await source.read(key, 0, max(first, 1))
            except ObjectNotFound:
                return await self._settle_gone(attempt, route, started)
            due = await self._look(attempt, route, started, got.meta)
            if not isinstance(due, _Due):
                return due
            if len(got.data) == got.meta.size:
                return await self._write_whole(due, got)
        if got.meta.size <= self._limits.size:
            return await self._copy(attempt, route, started, got.meta.size)
        await attempt.slot.enlarge()
        return await self._write_parts(due, by_provider=False)

    async def _look(
        self, attempt: Attempt, route: Route, started: float, found: ObjectMeta
    ) -> _Due | Released | Skipped:
        claim = attempt.claim
        decision = decide.looked(claim, route, found, self._clock.time())
        store = self.stores[claim.transfer.store]
        if isinstance(decision, decide.Copy) and not proof.honoured(decision.when, store.traits):
            decision = decide.CheckDestination()
        if isinstance(decision, decide.CheckDestination):
            again = decide.conflict(claim, route, found, await proof.head(store, claim.transfer.key))
            if isinstance(again, decide.Adopt):
                # the bytes are compared when the write is refused; without preconditions, trust the stamp
                again = decide.Copy(Precondition(create_only=True)) if store.traits.create_only else Skipped("current")
            elif isinstance(again, decide.Copy):
                again = replace(again, when=proof.weakened(again.when, store.traits))
            decision = again
        assert not isinstance(decision, decide.Remove)  # only for what is gone
        if isinstance(decision, decide.Copy):
            return _Due(attempt, route, started, found, decision.when)
        return Released(decision.at) if isinstance(decision, decide.Later) else decision

    async def _write_whole(self, due: _Due, got: ObjectData) -> Done | Skipped:
        transfer = due.attempt.claim.transfer
        store = self.stores[transfer.store]
        asked = proof.needed(got.meta.checksums, transfer.checksums) | proof.provable(store.traits)
        computed = await digest(got.data, self._offload, asked)
        declared = proof.verify_source(transfer, got.meta, computed)
        attributes = stamp.stamped(transfer, due.route, got.meta, computed)

        async def write(when: Precondition) -> ObjectMeta:
            return await store.write(transfer.key, got.data, attributes, computed, when)

        return await self._finished(due, await self._apply(due, computed, write), computed, declared)

    async def _copy_whole(self, due: _Due) -> Done | Skipped:
        """No byte passes through us: the destination attests what the source declares."""
        transfer, found = due.attempt.claim.transfer, due.found
        store, copy_source = self.stores[transfer.store], self.stores[transfer.source_store].copy_source
        assert copy_source is not None  # or this strategy is not chosen
        declared = proof.verify_source(transfer, found, found.checksums)
        attributes = stamp.stamped(transfer, due.route, found, found.checksums)

        async def copy(when: Precondition) -> ObjectMeta:
            return await store.copy_from(copy_source, found, transfer.key, attributes, when)

        return await self._finished(due, await self._apply(due, found.checksums, copy), Checksums(), declared)

    async def _write_parts(self, due: _Due, *, by_provider: bool) -> Done | Skipped:
        attempt, transfer, found = due.attempt, due.attempt.claim.transfer, due.found
        store, task = self.stores[transfer.store], self._large(due, by_provider)
        if old := task.resumable(attempt):  # it may be finished, and its worker died before it could say so
            known = found.checksums if by_provider else large.whole(old) or found.checksums
            verdict = await self._race(due, known)
            if not isinstance(verdict, Precondition):
                return await self._finished(due, verdict, known, proof.verify_source(transfer, found, known))
        async with self._parts.upload(task, attempt) as sent:
            declared = proof.verify_source(transfer, found, sent.checksums)

            async def finish(when: Precondition) -> ObjectMeta:
                made = await store.finish_upload(sent.upload, sent.parts, sent.checksums, when)
                sent.finished = True
                return made

            written = await self._apply(due, sent.checksums, finish, exact=store.traits.finish_exact)
        return await self._finished(due, written, Checksums() if by_provider else sent.checksums, declared)

    def _large(self, due: _Due, by_provider: bool) -> large.Large:
        transfer, found = due.attempt.claim.transfer, due.found
        store, wanted = self.stores[transfer.store], self._limits.copied if by_provider else self._limits.size
        return large.Large(
            source=self.stores[transfer.source_store],
            ref=replace(transfer.source, version=found.version),
            found=found,
            store=store,
            key=transfer.key,
            attributes=stamp.stamped(transfer, due.route, found, found.checksums),
            part_size=large.part_size(found.size, wanted, store.traits),
            event=transfer.checksums,
            by_provider=by_provider,
        )

    async def _apply(self, due: _Due, sent: Checksums, write: Write, *, exact: bool = True) -> ObjectMeta | Skipped:
        """Write, deciding again as long as the precondition fails, and prove it; or what makes a write needless.

        Where this kind of write cannot demand anything (`exact` False), the destination is looked at just before.
        """
        attempt, transfer, when = due.attempt, due.attempt.claim.transfer, due.when
        store = self.stores[transfer.store]
        for _ in range(RACES):
            attempt.ensure_lease_held()
            with suppress(PreconditionFailed):
                if exact or when == ANY:
                    written = await write(when)
                    await proof.verify_destination(store, transfer.key, due.found.size, sent, written)
                    return written
            verdict = await self._race(due, sent)
            if not isinstance(verdict, Precondition):
                return verdict
            when = verdict if exact else ANY
        raise PreconditionFailed("it keeps changing", where=f"{transfer.store} {transfer.key}")

    async def _race(self, due: _Due, computed: Checksums) -> Skipped | ObjectMeta | Precondition:
        """The destination was not as expected: it is ours already (its meta), or newer (Skipped), or to be replaced."""
        claim, source = due.attempt.claim, due.found
        store = self.stores[claim.transfer.store]
        found = await proof.head(store, claim.transfer.key)
        verdict = decide.conflict(claim, due.route, source, found)
        if isinstance(verdict, Skipped):
            return verdict
        if isinstance(verdict, decide.Adopt) and found is not None:
            proven = found.size == source.size and found.checksums.comparable_with(computed)
            if proven and not found.checksums.find_conflict(computed):
                return found
            verdict = decide.Copy(Precondition(replace=found.version))
        assert isinstance(verdict, decide.Copy)
        return proof.weakened(verdict.when, store.traits)

    async def _finished(
        self, due: _Due, written: ObjectMeta | Skipped, computed: Checksums, declared: Checksums
    ) -> Done | Skipped:
        if isinstance(written, Skipped):
            return written
        transfer = due.attempt.claim.transfer
        if due.route.after_copy != "keep":
            due.attempt.ensure_lease_held()
            with suppress(PreconditionFailed):  # it changed meanwhile: that version has an event of its own
                await proof.delete_version(self.stores[transfer.source_store], transfer.source.key, due.found.version)
        return self._done(due.attempt, due.started, due.found, written, computed, declared)

    async def _settle_gone(self, attempt: Attempt, route: Route, started: float) -> Done | Skipped | Released:
        claim, transfer = attempt.claim, attempt.claim.transfer
        if not await self._same(transfer.source_store, transfer.source.key):
            return Released(self._clock.time() + AWAY)
        decision = decide.looked(claim, route, None, self._clock.time())
        source, store = self.stores[transfer.source_store], self.stores[transfer.store]
        for _ in range(RACES):
            if isinstance(decision, decide.CheckDestination):
                decision = decide.conflict_on_delete(claim, await proof.head(store, transfer.key))
                back = isinstance(decision, decide.Remove) and await proof.head(source, transfer.source.key)
                if back:  # the destination may hold its copy, made while this worker stood still
                    return Skipped("superseded")
            if not isinstance(decision, decide.Remove):
                assert isinstance(decision, Skipped)  # what is gone is neither copied nor too young
                return decision
            attempt.ensure_lease_held()
            try:
                await proof.delete_version(store, transfer.key, decision.when.replace)
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
        newest = await proof.head(self.stores[transfer.source_store], transfer.source.key)
        if newest is None and not await self._same(transfer.source_store, transfer.source.key):
            return
        if newest is None or newest.version != placed.source.version:
            with suppress(PreconditionFailed):  # somebody has replaced it already
                await proof.delete_version(self.stores[placed.store], placed.key, placed.version)

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
        seen = decide.positions(source)
        receipt = Receipt(
            source_version=source_version,
            destination_version=version,
            size=source.size if source else 0,
            computed=computed,
            declared=declared,
            attested=written.checksums if written else Checksums(),
            position=source.position if source else None,
            started_at=now - (self._clock.monotonic() - started),
            finished_at=now,
            attempt=claim.attempt,
        )
        placement = Placement(
            store=transfer.store,
            key=transfer.key,
            source=replace(transfer.source, version=source_version),
            deleted=written is None,
            positions=seen,
            occurred_at=min(source.modified if source else transfer.occurred_at, now),
            version=version,
            transfer_id=transfer.id,
            settled_at=now,
            identity=next(iter(transfer.identities), ""),
        )
        return Done(receipt, placement)
