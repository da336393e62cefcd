"""Run the queue of each destination key: one attempt after the other, each recorded before the next."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import field, replace

from skyferry import retry
from skyferry.clock import sleep_until_set
from skyferry.engine.concurrency.transfer_slots import TransferSlot, TransferSlots
from skyferry.engine.consume.acks import AckBatcher
from skyferry.engine.consume.attempt import Lease, find_lease_end
from skyferry.engine.consume.batch import Batcher
from skyferry.engine.consume.in_flight import InFlight, KeyQueue, TransferTask
from skyferry.engine.consume.source_checks import is_absent
from skyferry.engine.consume.trials import Trials
from skyferry.engine.context import EngineContext
from skyferry.engine.copy import decisions
from skyferry.engine.copy.copier import Attempt, Copier
from skyferry.engine.resilience.circuit_breaker import LANDING, BreakerState
from skyferry.errors import ChecksumMismatch, Fenced, InternalError, LedgerError, SkyferryError
from skyferry.frozen import dataclass
from skyferry.model import Claim, Failure, Progress, Transfer, newest_positions
from skyferry.ports import Dead, Done, Outcome, Released, Retry, Settled, Settlement, Skipped, Wait, letter_attributes

DELAYED = (Retry, Released)  # outcomes after which the transfer is due again


@dataclass(frozen=True, slots=True)
class ExecutorPolicy:
    """The values from LimitSettings and RetrySettings."""

    transfers: int = 64
    large_transfers: int = 4
    lost_leases: int = 20
    backoff: retry.Backoff = field(default_factory=retry.Backoff)
    batch: int = 256


class SerialExecutor:
    """Runs the transfers in flight, one at a time for each destination key."""

    def __init__(
        self,
        context: EngineContext,
        copier: Copier,
        policy: ExecutorPolicy,
        in_flight: InFlight,
        acks: AckBatcher,
        trials: Trials,
    ) -> None:
        self._context, self._copier, self._policy = context, copier, policy
        self._in_flight, self._acks, self._trials = in_flight, acks, trials
        self._reporter = context.reporter
        self.slots = TransferSlots(policy.transfers, policy.large_transfers, context.limits, context.clock)
        self.settler: Batcher[Settlement, bool] = Batcher(context.settle, policy.batch, "settle")
        self.saver: Batcher[tuple[Claim, Progress], bool] = Batcher(context.ledger.save_progress, policy.batch, "save")
        self.stopping = False  # begin nothing new
        self.unfreed: list[Claim] = []  # the claims of keys that were not freed when their queues ended

    async def run(self, key_queue: KeyQueue) -> None:
        """Run its tasks until it is empty, finish their messages, and remove it."""
        try:
            while key_queue.tasks or (key_queue.kept and await self._wait_for_landing(key_queue)):
                task = key_queue.pop_newest()
                if task.claim and task.claim.fence <= key_queue.released_fence:
                    await self._claim_again(key_queue, task)
                try:
                    if (outcome := self._superseded(key_queue, task)) is None:
                        pair = self.slots.for_pair(task.transfer.source_store, task.transfer.store)
                        with await TransferSlot.take(pair, pair.large, task.rank) as slot:
                            outcome = await self._attempt(key_queue, task, slot)
                except Fenced:
                    await self._lose(key_queue, task)
                else:
                    await self._conclude(key_queue, task, outcome)  # without a slot while the ledger writes
        finally:  # no await between the last check of its tasks and this
            self._in_flight.remove_key_queue(key_queue)
            if key_queue.kept:
                self.unfreed.append(key_queue.kept)

    async def drained(self) -> None:
        """Return once the ledger has all outcomes."""
        await self.settler.drained()
        await self.saver.drained()

    async def keep_changing(self) -> None:
        """Keep the leases of keys whose change may still take effect, also when this process ends."""
        changing = [claim for claim in self.unfreed if self.may_change(claim.transfer)]
        with suppress(LedgerError):
            await self._context.ledger.keep(changing)

    def may_change(self, transfer: Transfer) -> bool:
        """Return True if a change of the destination key that this process has begun may still take effect."""
        breaker = self._context.breakers.get(transfer.store)
        return breaker is not None and breaker.own_changes.time_left(transfer.key) > 0

    def _superseded(self, key_queue: KeyQueue, task: TransferTask) -> Outcome | None:
        """Return the outcome of a task that needs no request to a store, and so no slot; else None."""
        if task.claim is None or task.forced_outcome is not None:
            return None
        claim = _claim(key_queue, task)
        return key_queue.source_checks.find_outcome(task.transfer, task.arrival) or decisions.decide_before_look(claim)

    async def _attempt(self, key_queue: KeyQueue, task: TransferTask, slot: TransferSlot) -> Outcome:
        """Make one attempt. Every failure becomes an outcome, but for a lost lease. Raises Fenced."""
        if task.claim is None or self.stopping:
            return Released()
        if task.forced_outcome is not None:
            return task.forced_outcome
        claim = _claim(key_queue, task)
        if claim.lost >= self._policy.lost_leases:
            return self._dead(
                task, Failure(claim.attempt, self._context.clock.time(), "worker_lost", _LOST, counts_as_attempt=True)
            )
        route = self._context.routes[task.transfer.route]
        circuits = self._trials.find_circuits(task.transfer)
        if circuits and (wait := max(circuit.time_to_trial() for circuit in circuits)):
            return Released(wait * (1 + self._context.random.random() / 4))
        task.attempt, task.checked_after = (
            Attempt(claim, slot, key_queue.uploads, self.saver.put, task.lease),
            self._in_flight.arrivals,
        )
        if breaker := self._context.breakers.get(task.transfer.store):
            task.attempt.late_write = breaker.late_writes.time_left(task.transfer.key)
            task.attempt.late_delete = breaker.late_deletes.time_left(task.transfer.key)
        self._reporter.report_claim(task.transfer, claim.attempt)
        began = self._context.clock.monotonic()
        probes = [circuit for circuit in circuits if circuit.begin_transfer()]
        try:
            with task.lease:
                return await self._copier.run(task.attempt, route)
        except Fenced:
            raise
        except LedgerError as error:  # an upload could not be recorded: this is no fault of the object
            self._reporter.report_ledger_failure(task.transfer, error)
            return Released(1.0)
        except SkyferryError as error:
            await self._check_store(error, began)
            return self._failed(task, claim, error, began)
        except Exception as bug:  # noqa: BLE001 - a bug must not lose the object: it is reported, and retried
            return self._failed(task, claim, InternalError(f"{type(bug).__name__}: {bug}"), began)
        finally:
            for circuit in probes:
                circuit.end_probe()
            if breaker and task.attempt.change_aborted:
                breaker.record_aborted(task.transfer.key)

    async def _check_store(self, error: SkyferryError, began: float) -> None:
        """Look at the object of a failed request, if nothing else has shown since `began` that its store responds."""
        breaker, store = self._context.breakers.get(error.store), self._copier.stores.get(error.store)
        if breaker is None or store is None or not error.outage or error.local or error.side == "look":
            return
        if isinstance(error, retry.STORES_OWN):
            return
        if breaker.state is BreakerState.CLOSED and not breaker.has_responded(began):
            with suppress(SkyferryError):  # the breaker has heard of it
                await store.head(error.key)

    def _failed(self, task: TransferTask, claim: Claim, error: SkyferryError, began: float) -> Outcome:
        leased, now = task.messages[0], self._context.clock.monotonic()
        if leased.failing_since is None:
            leased.failing_since = now
        decision = retry.decide_retry(
            error,
            claim.attempt,
            task.transfer.max_retries,
            replace(self._collect_evidence(error, began, now - leased.failing_since), sound=_note_read(task, error)),
            backoff=self._policy.backoff,
            random=self._context.random.random(),
            uncounted=leased.uncounted,
        )
        counts_as_attempt = not isinstance(decision, retry.RetryAfter) or decision.counts_as_attempt
        leased.uncounted += not counts_as_attempt
        failure = Failure(claim.attempt, self._context.clock.time(), error.kind, str(error), counts_as_attempt)
        if isinstance(decision, retry.Abandon):
            return self._dead(task, failure, error.hint)
        return Retry(decision.delay, failure)

    def _collect_evidence(self, error: SkyferryError, began: float, lasted: float) -> retry.Evidence:
        if (breaker := self._context.breakers.get(error.store)) is None:
            return retry.Evidence(served=True)
        served = breaker.has_answered(error.side, error.since)
        return retry.Evidence(served, breaker.state is BreakerState.CLOSED, breaker.has_responded(began), lasted)

    def _dead(self, task: TransferTask, failure: Failure, hint: str = "") -> Dead:
        leased = task.messages[0]
        return Dead(
            failure,
            leased.body,
            letter_attributes.keep_for_letter(leased.message.attributes),
            hint,
            leased.origin,
        )

    async def _conclude(self, key_queue: KeyQueue, task: TransferTask, outcome: Outcome) -> None:
        """Record the outcome, then finish the messages."""
        task.concluding = True
        if key_queue.uploads.known and isinstance(outcome, Done | Skipped | Dead):
            with suppress(Fenced), task.lease:  # the next worker with the key aborts them
                await self._copier.abort_uploads(task.transfer, key_queue.uploads)
        idle = not key_queue.tasks and key_queue.key not in self._in_flight.claiming
        last = idle and not self._time_landing(key_queue)
        key_queue.kept = task.claim if idle and not last else None
        retry_at: float | None = None
        if task.claim is None:
            retry_at = self._context.clock.time() + 1.0
        else:
            if last:
                self._in_flight.release_key(key_queue, task.claim.fence)
            try:
                if await self.settler.put(Settlement(task.claim, outcome, last, tuple(key_queue.uploads.closed))):
                    retry_at = self._recorded(key_queue, task, outcome)
                else:
                    retry_at = self._context.clock.time() + self._context.random.random()
                    self._reporter.report_lease_lost(task.transfer)
                    task.lease.lost = True
                    await self._undo(task, outcome)
            except LedgerError as error:  # nothing is recorded: the message is not acked, and is redelivered
                retry_at = self._context.clock.time() + self._policy.backoff.delay(3, self._context.random.random())
                self._reporter.report_ledger_failure(task.transfer, error)
                await self._undo(task, outcome)  # another worker may get it: the lease may have ended, too
        if retry_at is None and is_absent(task.transfer, outcome):
            self._in_flight.read_otherwise(task, self._context.clock.time())
        self._acks.finish(self._in_flight.finish_task(task, retry_at))

    def _time_landing(self, key_queue: KeyQueue) -> float:
        """Return the seconds within which a change of the key that had no answer may take effect; 0 = there is none."""
        store, key = key_queue.key
        breaker = self._context.breakers.get(store)
        return 0.0 if breaker is None else breaker.time_landing(key)

    async def _wait_for_landing(self, key_queue: KeyQueue) -> bool:
        """Free a kept key once no change of it can take effect. Return True if a task arrives.

        A worker that ends before leaves it until its lease ends; then the next one waits.
        """
        while (claim := key_queue.kept) and not (key_queue.tasks or self.stopping):
            if left := self._time_landing(key_queue):
                key_queue.arrived = asyncio.Event()
                await sleep_until_set(self._context.clock, left, key_queue.arrived)
                continue
            key_queue.kept = None
            self._in_flight.release_key(key_queue, claim.fence)
            with suppress(LedgerError):  # then its lease ends by time
                await self.settler.put(Settlement(claim, Released()))
        return bool(key_queue.tasks)

    async def _lose(self, key_queue: KeyQueue, task: TransferTask) -> None:
        """Record nothing for a lost lease. The ledger counts it at the next claim, by whichever worker."""
        task.concluding, key_queue.kept = True, None
        self._reporter.report_lease_lost(task.transfer)
        if task.attempt and task.attempt.change_aborted:
            await self._undo_aborted(task)
        retry_at = self._context.clock.time() + self._context.random.random()
        self._acks.finish(self._in_flight.finish_task(task, retry_at))

    def _recorded(self, key_queue: KeyQueue, task: TransferTask, outcome: Outcome) -> float | None:
        self._reporter.report_outcome(task.transfer, task.claim.attempt if task.claim else 0, outcome)
        if key_queue.tasks:  # otherwise the queue ends before anything is awaited, with all that it knows
            self._remember(key_queue, task, outcome)
        return self._context.clock.time() + outcome.delay if isinstance(outcome, DELAYED) else None

    def _remember(self, key_queue: KeyQueue, task: TransferTask, outcome: Outcome) -> None:
        """Keep what the next tasks of the queue need not look up."""
        key_queue.source_checks.record(task.transfer, task.checked_after, outcome)
        if isinstance(outcome, Done):
            old = key_queue.placement or (task.claim.placement if task.claim else None)
            merged = newest_positions(
                old.positions if old and old.is_from(task.transfer.source) else (), outcome.placement.positions
            )
            placed = outcome.placement
            key_queue.placement = placed if merged == placed.positions else replace(placed, positions=merged)
        elif isinstance(outcome, Skipped) and key_queue.placement:
            key_queue.placement = key_queue.placement.with_positions(outcome.positions)

    async def _undo(self, task: TransferTask, outcome: Outcome) -> None:
        """Undo a write that was made under the lease but not recorded. It needs no lease: it deletes only that version."""
        if isinstance(outcome, Done) and not outcome.placement.deleted:
            with suppress(SkyferryError):  # the store is down: its next event, or the next reconciliation, finds it
                outdated = await self._copier.undo(task.transfer, outcome)
                _note_undone(task, outdated and not task.lease.is_held)  # under its lease it replaced nothing newer

    async def _undo_aborted(self, task: TransferTask) -> None:
        """Undo an aborted change that took effect nevertheless, after the time in which it could."""
        clock, transfer = self._context.clock, task.transfer
        end = clock.monotonic() + LANDING
        while not self.stopping and (left := end - clock.monotonic()) > 0:
            await clock.sleep(min(1.0, left))
        with suppress(SkyferryError):  # as for `_undo`
            (placed,) = await self._context.ledger.get_placements(transfer.store, [transfer.key])
            _note_undone(task, await self._copier.undo_aborted(transfer, placed))

    async def _claim_again(self, key_queue: KeyQueue, task: TransferTask) -> None:
        """Claim again the tasks that arrived while the key was released: they need claims of its next lease."""
        tasks = [
            task,
            *(each for each in key_queue.tasks if each.claim and each.claim.fence <= key_queue.released_fence),
        ]
        ends = find_lease_end(self._context.clock, self._context.ledger.lease)
        try:
            answers = await self._context.claim([each.transfer for each in tasks])
        except LedgerError:
            answers = [Wait(each.transfer.id, 0.0, busy=True) for each in tasks]
        for each, answer in zip(tasks, answers, strict=True):
            each.claim = answer if isinstance(answer, Claim) else None
            each.lease = Lease(ends, self._context.clock.monotonic)
            if isinstance(answer, Settled):
                self._reporter.report_duplicate(each.transfer, answer)


def _claim(key_queue: KeyQueue, task: TransferTask) -> Claim:
    assert task.claim is not None  # a task joins a key queue with its claim
    key_queue.uploads.merge(task.claim.uploads)
    return replace(task.claim, placement=key_queue.placement) if key_queue.placement else task.claim


def _note_read(task: TransferTask, error: SkyferryError) -> bool:
    """Note if this attempt has read the bytes as they are declared. Return True if an earlier one has.

    After each such read, one corrupt read does not count, so that those of a long outage do not add up. An object that is
    always corrupt has no such read between. A mismatch at the destination is not a corrupt read.
    """
    leased, proven = task.messages[0], task.attempt is not None and task.attempt.read_proven
    was_sound = leased.read_proven and not proven
    leased.read_proven = proven or (leased.read_proven and not isinstance(error, ChecksumMismatch))
    return was_sound


def _note_undone(task: TransferTask, undone: bool) -> None:
    for leased in task.messages:
        leased.undone = leased.undone or undone


_LOST = "the workers that held it died or lost their lease again and again"
