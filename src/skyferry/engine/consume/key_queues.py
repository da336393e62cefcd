"""Works chains off: one attempt after the other on a destination key, each recorded before the next."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace

from skyferry import retry
from skyferry.engine.consume.acks import Closer
from skyferry.engine.consume.batch import Batcher
from skyferry.engine.consume.in_flight import Chain, Hold, Job
from skyferry.engine.context import EngineContext
from skyferry.engine.copy import decisions as decide
from skyferry.engine.copy.copier import Attempt, Copier
from skyferry.engine.resilience.admission import Lane, Slot
from skyferry.errors import Fenced, InternalError, LedgerError, SkyferryError
from skyferry.model import Claim, Failure, Progress, newest
from skyferry.ports import Dead, Done, Outcome, Released, Retry, Settled, Settlement, Skipped, Wait, letters


@dataclass(frozen=True, slots=True)
class ChainPolicy:
    """Of LimitSettings and RetrySettings."""

    transfers: int = 64
    large_transfers: int = 4
    lost_leases: int = 20
    backoff: retry.Backoff = field(default_factory=retry.Backoff)
    batch: int = 256


class Chains:
    """Runs the transfers in hand."""

    def __init__(self, context: EngineContext, copier: Copier, policy: ChainPolicy, hold: Hold, closer: Closer) -> None:
        self._context, self._copier, self._policy, self._hold, self._closer = context, copier, policy, hold, closer
        self._reporter = context.reporter
        self._small, self._large = Lane(policy.transfers), Lane(policy.large_transfers)
        self.settler: Batcher[Settlement, bool] = Batcher(context.ledger.settle, policy.batch, "settle")
        self.saver: Batcher[tuple[Claim, Progress], bool] = Batcher(context.ledger.save, policy.batch, "save")
        self.stopping = False  # begin nothing new

    async def run(self, chain: Chain) -> None:
        """Work it off; messages that are finished thereby are closed."""
        while True:
            job = chain.take()
            if job.claim and job.claim.fence <= chain.freed:
                await self._claim_again(chain, job)
            if (outcome := self._superseded(chain, job)) is None:
                async with Slot(self._small, self._large, job.rank) as slot:
                    outcome = await self._attempt(chain, job, slot)
            await self._conclude(chain, job, outcome)  # holds no slot while the ledger writes
            if not chain.jobs:
                return

    async def drained(self) -> None:
        """Return once the ledger has all outcomes."""
        await self.settler.drained()
        await self.saver.drained()

    def _superseded(self, chain: Chain, job: Job) -> Outcome | None:
        """The outcome of a job that needs no look at any store, and so no slot."""
        if job.claim is None or job.ended is not None:
            return None
        claim = _claim(chain, job)
        return chain.looks.answer(job.transfer, job.came) or decide.before(claim)

    async def _attempt(self, chain: Chain, job: Job, slot: Slot) -> Outcome:
        """One attempt; every failure becomes an outcome."""
        if job.claim is None or self.stopping:
            return Released(self._context.clock.time())
        if job.ended is not None:
            return job.ended
        claim = _claim(chain, job)
        if claim.lost >= self._policy.lost_leases:
            return self._dead(
                job, Failure(claim.attempt, self._context.clock.time(), "worker_lost", _LOST, burned=True)
            )
        route = self._context.routes[job.transfer.route]
        breakers = [self._context.breakers[s] for s in {route.source_store, route.store} if s in self._context.breakers]
        if wait := max((b.wait() for b in breakers), default=0.0):
            return Released(self._context.clock.time() + wait * (1 + self._context.random.random() / 4))
        job.attempt, job.looked = Attempt(claim, slot, chain.uploads, self.saver.put), self._hold.came
        self._reporter.report_claim(job.transfer, claim.attempt)
        with ExitStack() as probes:
            for breaker in breakers:
                if breaker.enter():
                    probes.callback(breaker.leave)
            try:
                return await self._copier.run(job.attempt, route)
            except LedgerError as error:  # an upload could not be remembered: says nothing about the object
                if isinstance(error, Fenced):
                    return self._failed(job, claim, error)
                self._reporter.report_ledger_failure(job.transfer, error)
                return Released(self._context.clock.time() + 1.0)
            except SkyferryError as error:
                return self._failed(job, claim, error)
            except Exception as bug:  # noqa: BLE001 - the object must not be lost by it: it is told, and tried again
                return self._failed(job, claim, InternalError(f"{type(bug).__name__}: {bug}"))

    def _failed(self, job: Job, claim: Claim, error: SkyferryError) -> Outcome:
        breaker, held = self._context.breakers.get(error.store), job.holders[0]
        decision = retry.decide(
            error,
            claim.attempt,
            job.transfer.max_retries,
            healthy=breaker is None or breaker.healthy(error.side, error.since),
            backoff=self._policy.backoff,
            random=self._context.random.random(),
            unburned=held.unburned,
        )
        now = self._context.clock.time()
        burned = not isinstance(decision, retry.Again) or decision.burned
        held.unburned += not burned
        failure = Failure(claim.attempt, now, error.kind, str(error), burned)
        if isinstance(decision, retry.GiveUp):
            return self._dead(job, failure, error.hint)
        return Retry(now + decision.delay, failure)

    def _dead(self, job: Job, failure: Failure, hint: str = "") -> Dead:
        held = job.holders[0]
        return Dead(failure, held.message.body, letters.kept(held.message.attributes), hint, held.origin)

    async def _conclude(self, chain: Chain, job: Job, outcome: Outcome) -> None:
        """Record the outcome; the messages are finished after it."""
        job.concluding = True
        if (
            chain.uploads.known
            and isinstance(outcome, Done | Skipped | Dead)
            and not (job.attempt and job.attempt.lost)
        ):
            await self._copier.give_up(job.transfer, chain.uploads)
        last = not chain.jobs and chain.key not in self._hold.claiming
        again: float | None = None
        if job.claim is None:
            again = self._context.clock.time() + 1.0
        else:
            if last:
                self._hold.free(chain, job.claim.fence)
            try:
                if await self.settler.put(Settlement(job.claim, outcome, last, tuple(chain.uploads.closed))):
                    again = self._recorded(chain, job, outcome)
                else:
                    again = self._context.clock.time() + self._context.random.random()
                    self._reporter.report_lease_lost(job.transfer)
                    await self._undo(job, outcome)
            except LedgerError as error:  # nothing is recorded: the message stays unacked and comes again
                again = self._context.clock.time() + self._policy.backoff.delay(3, self._context.random.random())
                self._reporter.report_ledger_failure(job.transfer, error)
                await self._undo(job, outcome)  # or it may not come to us: the lease may have ended, too
        self._closer.close(self._hold.finish(job, again))

    def _recorded(self, chain: Chain, job: Job, outcome: Outcome) -> float | None:
        self._reporter.report_outcome(job.transfer, job.claim.attempt if job.claim else 0, outcome)
        chain.looks.remember(job.transfer, job.looked, outcome)
        if isinstance(outcome, Done):
            old = chain.placement or (job.claim.placement if job.claim else None)
            merged = newest(
                old.positions if old and old.about(job.transfer.source) else (), outcome.placement.positions
            )
            chain.placement = replace(outcome.placement, positions=merged)
        elif isinstance(outcome, Skipped) and chain.placement:
            chain.placement = chain.placement.advance(outcome.positions)
        return outcome.at if isinstance(outcome, Retry | Released) else None

    async def _undo(self, job: Job, outcome: Outcome) -> None:
        if isinstance(outcome, Done) and not outcome.placement.deleted:
            with suppress(SkyferryError):  # the store is down: its next event, or the next reconciliation, finds it
                await self._copier.undo(job.transfer, outcome)

    async def _claim_again(self, chain: Chain, job: Job) -> None:
        """The key was given back while these jobs came in: they need claims of its next lease."""
        jobs = [job, *(each for each in chain.jobs if each.claim and each.claim.fence <= chain.freed)]
        try:
            answers = await self._context.ledger.claim([each.transfer for each in jobs])
        except LedgerError:
            answers = [Wait(each.transfer.id, 0.0, busy=True) for each in jobs]
        for each, answer in zip(jobs, answers, strict=True):
            each.claim = answer if isinstance(answer, Claim) else None
            if isinstance(answer, Settled):
                self._reporter.report_duplicate(each.transfer, answer)


def _claim(chain: Chain, job: Job) -> Claim:
    assert job.claim is not None  # a job joins a chain with its claim
    chain.uploads.meet(job.claim.uploads)
    return replace(job.claim, placement=chain.placement) if chain.placement else job.claim


_LOST = "the workers that held it died or lost their lease again and again"
