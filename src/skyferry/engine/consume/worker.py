"""The worker: takes messages, claims what they ask for, has it done, keeps the leases, and lets go on a drain."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import Any

from skyferry.engine.consume.acks import Closer
from skyferry.engine.consume.dates import Dates
from skyferry.engine.consume.in_flight import Chain, Held, Hold, Job
from skyferry.engine.consume.intake import Intake, Read, Reader
from skyferry.engine.consume.key_queues import ChainPolicy, Chains
from skyferry.engine.consume.waiting import WaitingRoom, busy_pause
from skyferry.engine.context import EngineContext
from skyferry.engine.copy.copier import Copier
from skyferry.engine.orphans import end_redriven
from skyferry.engine.resilience.admission import Breaker, BreakerState
from skyferry.engine.telemetry import NullObserver, Reporter
from skyferry.errors import LedgerError, QueueError
from skyferry.model import Claim
from skyferry.ports import EventQueue, Message, Released, Settled, Settlement, Wait

FAREWELL = 2.0  # seconds that a queue has beyond its own time when the worker drains
TURN = 1.0  # seconds, at most, between looks whether there is more room


@dataclass(frozen=True, slots=True)
class WorkerPolicy:
    """Of Settings."""

    held_messages: int = 512
    batch: int = 256
    drain: float = 25.0  # seconds
    poll: float = 1.0  # seconds that a receive waits, and so how soon a drain is noticed
    chains: ChainPolicy = field(default_factory=ChainPolicy)
    unknown_buckets: Mapping[str, str] = field(default_factory=dict)  # by queue: keep, release, ignore
    waiting_messages: int = 10_000
    waiting_memory: int = 32 * 2**20  # bytes


class Worker:
    """Runs until `drain` is called. One per process; many may share queues and ledger."""

    def __init__(
        self, context: EngineContext, reader: Reader, copier: Copier, queues: Sequence[EventQueue], policy: WorkerPolicy
    ) -> None:
        self._context, self._queues, self._policy = context, queues, policy
        self._hold = Hold(policy.held_messages, WaitingRoom(policy.waiting_messages, policy.waiting_memory))
        self._reporter = context.reporter
        self._intake = Intake(reader, self._reporter, context.clock, policy.unknown_buckets)
        self._reread = Intake(reader, Reporter(NullObserver(), context.clock), context.clock, policy.unknown_buckets)
        self._dates = Dates(reader, context.routes, copier.stores)
        self._closer = Closer(self._hold, context.clock, self._reporter, policy.batch)
        self._chains = Chains(context, copier, policy.chains, self._hold, self._closer)
        self._stop, self._late = asyncio.Event(), asyncio.Event()
        self._running: dict[asyncio.Task[None], Chain] = {}

    @property
    def in_flight(self) -> int:
        """Transfers in hand."""
        return len(self._hold.jobs)

    @property
    def idle(self) -> bool:
        """Nothing in hand."""
        return not self._hold.messages

    def has(self, transfer_id: str) -> bool:
        """Whether a transfer is in hand."""
        return transfer_id in self._hold.jobs

    @property
    def waiting(self) -> int:
        """Messages in hand that nothing can be done with yet."""
        return len(self._hold.waiting)

    def oldest(self) -> dict[str, float]:
        """By route, when the oldest event in hand that is not settled occurred (seconds since 1970)."""
        jobs = [(job.transfer.route, job.transfer.occurred_at) for job in self._hold.jobs.values()]
        found: dict[str, float] = {}
        for route, at in [*jobs, *(pair for held in self._hold.waiting for pair in held.routes.items())]:
            found[route] = min(at, found.get(route, at))
        return found

    @property
    def draining(self) -> bool:
        """No new work is taken."""
        return self._stop.is_set()

    def drain(self) -> None:
        """Take no more work; finish what has begun. Idempotent."""
        self._chains.stopping = True
        self._stop.set()
        self._closer.changed.set()
        self._hold.waiting.changed.set()

    async def run(self) -> None:
        """Work until drained; then everything in hand is settled, or given back."""
        async with asyncio.TaskGroup() as tasks:
            receivers = [tasks.create_task(self._receive(q, tasks), name=f"receive {q.name}") for q in self._queues]
            resumer = tasks.create_task(self._resume(tasks), name="resume what waited")
            keeper = tasks.create_task(self._keep(), name="keep leases")
            hurry = tasks.create_task(self._hurry(), name="end receives")
            await asyncio.wait([*receivers, resumer])
            await self._let_go()
            keeper.cancel()
            hurry.cancel()

    async def _receive(self, queue: EventQueue, tasks: asyncio.TaskGroup) -> None:
        failures = 0
        while not self._stop.is_set():
            if (count := min(self._policy.batch, self._hold.room)) <= 0 or (pause := self._pause()) > 0:
                await self._wait(pause if count > 0 else TURN)
                continue
            self._hold.reserve(count)
            try:
                messages = await self._ask(queue, count)
                failures = 0
                if messages:
                    await self._accept(queue, messages, tasks)
            except (QueueError, LedgerError) as error:
                failures += 1
                self._reporter.report_queue_failure(queue.name, error)
                await self._rest(
                    self._policy.chains.backoff.delay(failures, self._context.random.random(), error.retry_after)
                )
            finally:
                self._hold.reserve(-count)

    async def _ask(self, queue: EventQueue, count: int) -> list[Message]:
        """Receive. A call that hangs while the worker drains is broken off: what it might have brought comes again."""
        asked = asyncio.ensure_future(queue.receive(count, self._policy.poll))
        late = asyncio.ensure_future(self._late.wait())
        try:
            await asyncio.wait({asked, late}, return_when=asyncio.FIRST_COMPLETED)
            return await asked if asked.done() else []
        finally:
            asked.cancel()
            late.cancel()

    async def _hurry(self) -> None:
        await self._stop.wait()
        await self._context.clock.sleep(self._policy.poll + FAREWELL)
        self._late.set()

    def _pause(self) -> float:
        """Seconds for which nothing should be received: there is no room for what waits, or nothing could be worked on."""
        if self._hold.waiting.overfull:
            return TURN
        return min(map(self._unwanted, self._context.routes), default=0.0)

    def _unwanted(self, route: str) -> float:
        """The same of one route. A store that was down is tried with what waits for it, if any of it is due soon."""
        if (wait := self._blocked([route])) > 0 or all(b.state is BreakerState.CLOSED for b in self._breakers(route)):
            return wait
        return TURN if self._hold.waiting.soon(route, self._context.clock.monotonic() + 2 * TURN) else 0.0

    def _blocked(self, routes: Iterable[str]) -> float:
        """Seconds until the first of these routes may be tried; 0 also where none of them is known."""
        return min((max((b.wait() for b in self._breakers(r)), default=0.0) for r in routes), default=0.0)

    def _breakers(self, route: str) -> list[Breaker]:
        known = self._context.routes.get(route)
        stores = dict.fromkeys((known.source_store, known.store)) if known else {}
        return [self._context.breakers[store] for store in stores if store in self._context.breakers]

    async def _resume(self, tasks: asyncio.TaskGroup) -> None:
        """Begin again with the messages that have waited long enough."""
        waiting, clock = self._hold.waiting, self._context.clock
        while not self._stop.is_set():
            count = min(self._policy.batch, self._hold.slack)
            if not (batch := waiting.take(clock.monotonic(), count, self._one_each())):
                due = inf if waiting.next is None else waiting.next - clock.monotonic()
                await self._heard(waiting.changed, max(due, TURN if count <= 0 else 0.0))
                continue
            for held in batch:
                held.reopen()
            try:
                await self._begin(batch, tasks)
            except LedgerError as error:
                self._reporter.report_queue_failure(batch[0].queue.name, error)

    def _one_each(self) -> Callable[[Iterable[str]], float]:
        """`_blocked`, for one look at the waiting room: a store that is tried again gets as many messages as it has probes."""
        probed, random = Counter[str](), self._context.random.random

        def blocked(routes: Iterable[str]) -> float:
            if (wait := self._blocked(routes)) > 0:
                return wait * (1 + random() / 4)
            half_open = [r for r in routes if any(b.state is not BreakerState.CLOSED for b in self._breakers(r))]
            probed.update(half_open)
            return TURN * (1 + random()) if half_open and max(probed[r] for r in half_open) > 1 else 0.0

        return blocked

    async def _rest(self, seconds: float) -> None:
        """For as long as this, or until a drain."""
        end = self._context.clock.monotonic() + seconds
        while not self._stop.is_set() and (left := end - self._context.clock.monotonic()) > 0:
            await self._wait(left)

    async def _wait(self, seconds: float) -> None:
        """Until there is more room, or a drain, but no longer than this."""
        await self._heard(self._closer.changed, min(seconds, TURN))

    async def _heard(self, event: asyncio.Event, seconds: float) -> None:
        """Until the event is set anew, or a drain, but no longer than this."""
        event.clear()
        if not self._stop.is_set():
            waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(event.wait())]
            if seconds < inf:
                waits.append(asyncio.ensure_future(self._context.clock.sleep(seconds)))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in waits:
                    each.cancel()

    async def _accept(self, queue: EventQueue, messages: list[Message], tasks: asyncio.TaskGroup) -> None:
        self._reporter.report_receive(queue.name, len(messages))
        batch = [Held(queue, m) for m in messages]
        self._hold.messages.update(dict.fromkeys(batch))
        await self._begin(batch, tasks)

    async def _begin(self, batch: list[Held], tasks: asyncio.TaskGroup) -> None:
        """Parse, match, claim as one batch; what is to be done starts, what is done is closed. Raises LedgerError."""
        if late := await self._dates.look(batch):
            self._abandon(late, [])
            batch = [held for held in batch if held not in late]
        reads = [(held, (self._reread if held.waits else self._intake).read(held)) for held in batch]
        fresh: list[Job] = []
        now = self._context.clock.time()
        try:
            for held, read in reads:
                if held.letter:
                    await end_redriven(self._context.ledger, held, read, now)
        except LedgerError:
            self._abandon(batch, fresh)
            raise
        for held, read in reads:
            held.again, held.foreign = None if read.release is None else now + read.release, read.release is not None
            jobs = self._hold.adopt(read.transfers, held, now)
            for job in jobs if read.ended else ():
                job.ended = read.ended.get(job.transfer.id)
            fresh += jobs
        empty = [held for held in batch if held.pending == 0]  # dead letters, test messages, no route's, bad timing
        try:
            await self._keep_untaken([read for _, read in reads])
            await self._claim(fresh, tasks)
        except LedgerError:
            self._abandon(empty, fresh)
            raise
        self._closer.close(empty)

    async def _keep_untaken(self, reads: Sequence[Read]) -> None:
        """Write down what becomes no transfer, in one step of the ledger for a whole batch."""
        buried = [letter for read in reads for letter in read.letters]
        refusals = [refusal for read in reads for refusal in read.refusals]
        if buried:
            await self._context.ledger.bury(buried)
        if refusals:
            await self._context.ledger.refuse(refusals)

    async def _claim(self, fresh: list[Job], tasks: asyncio.TaskGroup) -> None:
        keys = [job.key for job in fresh]
        self._hold.begin_claim(keys)
        try:
            answers = await self._context.ledger.claim([job.transfer for job in fresh]) if fresh else []
            for job, answer in zip(fresh, answers, strict=True):
                self._answered(job, answer, tasks)
        finally:
            self._hold.end_claim(keys)

    def _answered(self, job: Job, answer: Claim | Settled | Wait, tasks: asyncio.TaskGroup) -> None:
        if isinstance(answer, Claim):
            job.claim = answer
            self._start(job, tasks)
        elif isinstance(answer, Settled):
            self._reporter.report_duplicate(job.transfer, answer)
            self._closer.close(self._hold.finish(job))
        else:  # the owner of a busy key tells nobody when it is done: ask again, ever more seldom
            soon = self._context.clock.time() + busy_pause(job.holders[0].waits, self._context.random.random())
            self._closer.close(self._hold.finish(job, min(answer.until, soon) if answer.busy else answer.until))

    def _start(self, job: Job, tasks: asyncio.TaskGroup) -> None:
        key = job.key
        if chain := self._hold.chains.get(key):
            chain.jobs.append(job)
            return
        chain = self._hold.chains[key] = Chain(key, [job], freed=self._hold.freed.get(key, 0))
        task = tasks.create_task(self._run_chain(chain), name=f"transfer {job.transfer.id}")
        self._running[task] = chain
        task.add_done_callback(self._running.pop)

    async def _run_chain(self, chain: Chain) -> None:
        try:
            await self._chains.run(chain)
        finally:  # no await between the last look at chain.jobs and this
            self._hold.end(chain)

    def _abandon(self, empty: list[Held], fresh: list[Job]) -> None:
        """The ledger or a source did not answer: nothing of this was begun, and it comes again."""
        now, backoff = self._context.clock.time(), self._policy.chains.backoff
        for held in empty:
            held.again = now + backoff.delay(held.waits + 1, self._context.random.random())
        self._closer.close(empty)
        for job in fresh:
            waits = job.holders[0].waits
            self._closer.close(self._hold.finish(job, now + backoff.delay(waits + 1, self._context.random.random())))

    async def _keep(self) -> None:
        """Renew every lease in hand, those still waiting for their turn too; a queue that hangs holds up no other."""
        async with asyncio.TaskGroup() as tasks:
            for queue in self._queues:
                tasks.create_task(self._keep_messages(queue), name=f"keep leases of {queue.name}")
            tasks.create_task(self._keep_claims(), name="keep claims")

    async def _keep_messages(self, queue: EventQueue) -> None:
        async for _ in self._rounds(queue.lease):
            groups: dict[float, list[Held]] = {}
            now = self._context.clock.monotonic()
            for held in self._hold.messages:
                if held.queue is queue and held.until < now + 0.9 * queue.lease:
                    groups.setdefault(self._hold.waiting.lease(held, queue.lease, now), []).append(held)
            with suppress(QueueError, TimeoutError):  # the next round comes before the lease ends
                async with asyncio.timeout(queue.lease / 2):  # also if this one hangs
                    for seconds, group in groups.items():
                        await self._extend(queue, group, seconds, now)

    async def _extend(self, queue: EventQueue, group: list[Held], seconds: float, now: float) -> None:
        messages = [held.message for held in group]
        lost = {
            m.receipt
            for m in await (queue.extend(messages, seconds) if seconds > queue.lease else queue.extend(messages))
        }
        for held in group:
            held.until = now + seconds
            if held.message.receipt in lost and held in self._hold.waiting:  # it comes again
                self._hold.waiting.leave(held)
                self._hold.messages.pop(held, None)

    async def _keep_claims(self) -> None:
        async for _ in self._rounds(self._context.ledger.lease):
            jobs = [job for job in self._hold.jobs.values() if job.claim is not None]
            with suppress(LedgerError):
                lost = await self._context.ledger.renew([job.claim for job in jobs if job.claim]) if jobs else []
                gone = {claim.transfer.id for claim in lost}
                for job in jobs:
                    if job.attempt and job.transfer.id in gone:
                        job.attempt.lost = True

    async def _rounds(self, lease: float) -> AsyncIterator[None]:
        """Three within a lease, however long each takes."""
        clock, due = self._context.clock, self._context.clock.monotonic()
        while True:
            due = max(due + lease / 3, clock.monotonic())
            await clock.sleep(due - clock.monotonic())
            yield

    async def _let_go(self) -> None:
        """Give back at once what has not begun, and what has not ended within the grace time; recorded as untouched."""
        self._closer.give_back()
        await self._give_back([t for t, chain in self._running.items() if not self._begun(chain)])
        clock = self._context.clock
        deadline = clock.monotonic() + self._policy.drain
        while self._running and clock.monotonic() < deadline:
            await clock.sleep(0.05)
        await self._give_back([t for t, chain in self._running.items() if not self._concluding(chain)])
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._chains.drained()
        closed = asyncio.ensure_future(self._closer.drained())  # a queue may hang: then what is settled comes again
        patience = asyncio.ensure_future(clock.sleep(max(FAREWELL, deadline - clock.monotonic())))
        await asyncio.wait({closed, patience}, return_when=asyncio.FIRST_COMPLETED)
        closed.cancel()
        patience.cancel()

    async def _give_back(self, tasks: list[asyncio.Task[None]]) -> None:
        keys = {self._running[task].key for task in tasks}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        now = self._context.clock.time()
        left = [job for job in self._hold.jobs.values() if job.key in keys]
        with suppress(LedgerError):  # then the leases run out by themselves
            await self._context.ledger.settle([Settlement(job.claim, Released(now)) for job in left if job.claim])
        for job in left:
            self._closer.close(self._hold.finish(job, now))

    def _begun(self, chain: Chain) -> bool:
        return any(job.attempt or job.concluding for job in self._hold.jobs.values() if job.key == chain.key)

    def _concluding(self, chain: Chain) -> bool:
        return any(job.concluding for job in self._hold.jobs.values() if job.key == chain.key)
