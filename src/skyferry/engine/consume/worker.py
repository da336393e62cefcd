"""The worker: receives messages, claims and runs their transfers, renews leases, and releases its work on a drain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from math import inf
from typing import Any

from skyferry.engine.consume.acks import AckBatcher
from skyferry.engine.consume.attempt import Lease, find_lease_end
from skyferry.engine.consume.dates import Dates
from skyferry.engine.consume.in_flight import InFlight, Key, KeyQueue, LeasedMessage, TransferTask
from skyferry.engine.consume.intake import EventReader, Intake, MessageContent
from skyferry.engine.consume.key_queues import ExecutorPolicy, SerialExecutor
from skyferry.engine.consume.leases import LeaseKeeper
from skyferry.engine.consume.source_checks import is_absent
from skyferry.engine.consume.trials import TURN, LedgerOutage, Trials
from skyferry.engine.consume.waiting import WaitingRoom, busy_pause
from skyferry.engine.context import EngineContext
from skyferry.engine.copy.copier import Copier
from skyferry.engine.orphans import settle_redriven
from skyferry.engine.telemetry import NullObserver, Reporter
from skyferry.errors import LedgerError, QueueError
from skyferry.frozen import dataclass
from skyferry.model import Claim, Transfer
from skyferry.ports import EventQueue, Message, Released, Settled, Settlement, Wait
from skyferry.status import QueueBytes
from skyferry.tasks.either import wait_for_either

PREFETCH = 512  # messages that may be processed however few transfers run at the same time
FAREWELL = 2.0  # seconds that a queue has beyond its poll time when the worker drains


@dataclass(frozen=True, slots=True)
class WorkerPolicy:
    """The values from Settings."""

    queues: int = 1  # that are configured; each of several leaves room to the others
    held_messages: int = 512
    batch: int = 256
    drain: float = 25.0  # seconds
    poll: float = 1.0  # seconds that a receive waits, and so the delay until a drain is noticed
    in_memory: bool = False  # a receive leases nothing while it waits: a drain ends it at once
    executor: ExecutorPolicy = field(default_factory=ExecutorPolicy)
    unknown_buckets: Mapping[str, str] = field(default_factory=dict)  # by queue: keep, release, ignore
    waiting_messages: int = 10_000
    waiting_memory: int = 32 * 2**20  # bytes


class Worker:
    """Runs until `drain` is called. One per process; many may share queues and ledger."""

    def __init__(
        self,
        context: EngineContext,
        reader: EventReader,
        copier: Copier,
        queues: Sequence[EventQueue],
        policy: WorkerPolicy,
    ) -> None:
        self._context, self._queues, self._policy = context, queues, policy
        waiting = WaitingRoom(policy.waiting_messages, policy.waiting_memory, policy.queues)
        self._in_flight = InFlight(policy.held_messages, waiting, policy.queues)
        self._reporter = context.reporter
        self._intake = Intake(reader, self._reporter, context.clock, policy.unknown_buckets)
        self._reread = Intake(reader, Reporter(NullObserver(), context.clock), context.clock, policy.unknown_buckets)
        self._dates = Dates(reader, context.routes, copier.stores)
        self._trials = Trials(context, self._in_flight)
        self._acks = AckBatcher(self._in_flight, context.clock, self._reporter, policy.batch)
        self._outage = LedgerOutage(context, self._in_flight, policy.executor.backoff, self._acks.changed)
        self._executor = SerialExecutor(context, copier, policy.executor, self._in_flight, self._acks, self._trials)
        self._grace = policy.drain
        self._stop = asyncio.Event()

    @property
    def in_flight(self) -> int:
        """The number of transfers in flight."""
        return len(self._in_flight.tasks)

    @property
    def arrivals(self) -> int:
        """The number of transfers so far."""
        return self._in_flight.arrivals

    @property
    def idle(self) -> bool:
        """True if nothing is in flight."""
        return not self._in_flight.messages

    def list_claimed(self) -> list[tuple[str, str]]:
        """Return store and destination key of each claimed transfer, in the order of arrival."""
        return [task.key for task in self._in_flight.tasks.values() if task.claim is not None]

    def has(self, transfer_id: str) -> bool:
        """Return True if a transfer is in flight."""
        return transfer_id in self._in_flight.tasks

    def find_known(self, transfers: Iterable[Transfer]) -> set[str]:
        """Return the ids of those that are in flight or whose message waits here."""
        return self._in_flight.find_known(transfers)

    @property
    def waiting(self) -> int:
        """The number of leased messages that cannot be processed yet."""
        return len(self._in_flight.waiting)

    def oldest(self) -> dict[str, float]:
        """Return the time of the oldest unsettled event in flight, by route (seconds since 1970)."""
        return self._in_flight.find_oldest()

    def backlog(self) -> dict[str, QueueBytes]:
        """Return the bytes of each queue's messages, as their events declare them."""
        return self._in_flight.backlog()

    @property
    def draining(self) -> bool:
        """True once no new work is taken."""
        return self._stop.is_set()

    def drain(self, grace: float | None = None) -> None:
        """Take no more work; finish what has begun, within `grace` seconds if given. Idempotent."""
        if grace is not None:
            self._grace = grace
        self._executor.stopping = True
        self._stop.set()
        self._acks.changed.set()
        self._in_flight.waiting.changed.set()

    async def run(self) -> None:
        """Work until drained, then settle or release everything in flight."""
        async with asyncio.TaskGroup() as group:
            receivers = [group.create_task(self._receive(q, group), name=f"receive {q.name}") for q in self._queues]
            resumer = group.create_task(self._resume(group), name="resume what waited")
            keeper = group.create_task(
                LeaseKeeper(self._context, self._in_flight).run(self._queues), name="keep leases"
            )
            await asyncio.wait([*receivers, resumer])
            await self._release_all()
            keeper.cancel()

    async def _receive(self, queue: EventQueue, group: asyncio.TaskGroup) -> None:
        failures = 0
        while not self._stop.is_set():
            most = max(PREFETCH, self._executor.slots.count_messages())
            self._in_flight.limit = min(self._policy.held_messages, most)
            count = self._outage.limit(min(self._policy.batch, self._in_flight.request_room(queue.name)))
            if count <= 0 or (pause := self._pause(queue)) > 0:
                await self._wait(pause if count > 0 else TURN)
                continue
            self._in_flight.reserve(count)
            try:
                messages = await self._ask(queue, count)
                failures = 0
                if messages:
                    await self._accept_messages(queue, messages, group)
            except (QueueError, LedgerError) as error:
                failures += 1
                self._reporter.report_queue_failure(queue.name, error)
                await self._rest(
                    self._policy.executor.backoff.delay(failures, self._context.random.random(), error.retry_after)
                )
            finally:
                self._in_flight.reserve(-count)

    async def _ask(self, queue: EventQueue, count: int) -> list[Message]:
        """Receive. A call that hangs while the worker drains is cancelled: its messages are redelivered."""
        asked = asyncio.ensure_future(queue.receive(count, self._policy.poll))
        late = asyncio.ensure_future(self._wait_until_late())
        try:
            await asyncio.wait({asked, late}, return_when=asyncio.FIRST_COMPLETED)
            return await asked if asked.done() else []
        finally:
            asked.cancel()  # it may ignore this
            late.cancel()

    async def _wait_until_late(self) -> None:
        """Wait for a drain, and then for receives to end by themselves: one that is cancelled may have leased messages."""
        await self._stop.wait()
        if not self._policy.in_memory:
            await self._context.clock.sleep(self._policy.poll + FAREWELL)

    def _pause(self, queue: EventQueue) -> float:
        """Return the seconds to pause receives, because too many messages wait or no message could be processed."""
        overfull = self._in_flight.waiting.is_overfull(queue.name)
        return TURN if overfull else max(self._trials.pause(), self._outage.pause())

    async def _resume(self, group: asyncio.TaskGroup) -> None:
        """Process again the messages that have waited long enough."""
        while not self._stop.is_set():
            now = self._context.clock.monotonic()
            if not (batch := self._in_flight.take_due(now, self._policy.batch, self._trials.start_look())):
                await self._heard(self._in_flight.waiting.changed, self._in_flight.time_to_due(now, TURN))
                continue
            for leased in batch:
                leased.reset()
            await self._begin(batch, group)

    async def _rest(self, seconds: float) -> None:
        """Wait for `seconds`, or until a drain."""
        end = self._context.clock.monotonic() + seconds
        while not self._stop.is_set() and (left := end - self._context.clock.monotonic()) > 0:
            await self._wait(left)

    async def _wait(self, seconds: float) -> None:
        """Wait until there is more room, or a drain, but at most `seconds`."""
        await self._heard(self._acks.changed, min(seconds, TURN))

    async def _heard(self, event: asyncio.Event, seconds: float) -> None:
        """Wait until the event is set again, or a drain, but at most `seconds`."""
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

    async def _accept_messages(self, queue: EventQueue, messages: list[Message], group: asyncio.TaskGroup) -> None:
        self._reporter.report_receive(queue.name, len(messages))
        batch = [LeasedMessage(queue, m) for m in messages]
        self._in_flight.add_messages(batch)
        if self._stop.is_set():  # they came during a drain
            self._give_back(batch)
        else:
            await self._begin(batch, group)

    def _give_back(self, batch: Sequence[LeasedMessage]) -> None:
        """Release messages at once, as all that wait."""
        self._acks.give_back()
        for leased in batch:
            leased.retry_at = self._context.clock.time()
        self._acks.finish(batch)

    async def _begin(self, batch: list[LeasedMessage], group: asyncio.TaskGroup) -> None:
        """Begin to work on one batch. If the ledger does not answer, it waits."""
        try:
            await self._claim_batch(batch, group)
        except LedgerError as error:
            self._outage.note_failure()
            self._reporter.report_queue_failure(batch[0].queue.name, error)

    async def _claim_batch(self, batch: list[LeasedMessage], group: asyncio.TaskGroup) -> None:
        """Parse, match and claim one batch. Start its new transfers, and finish settled messages. Raises LedgerError."""
        parsed = {leased: self._intake.parse(leased) for leased in batch} if self._dates.needed else {}
        if late := await self._dates.note_creation_times(parsed):
            self._abandon(late, [], for_ledger=False)
            batch = [leased for leased in batch if leased not in late]
        reads = [(leased, self._intake_of(leased).read(leased, parsed.get(leased))) for leased in batch]
        fresh: list[TransferTask] = []
        now = self._context.clock.time()
        try:
            for leased, read in reads:
                if leased.letter:
                    await settle_redriven(self._context.ledger, leased, read, now)
        except LedgerError:
            self._abandon(batch, fresh)
            raise
        for leased, read in reads:
            leased.retry_at = None if read.release is None else now + read.release
            leased.foreign = read.release is not None
            self._in_flight.note_size(leased, read.transfers)
            tasks = self._in_flight.attach_message(read.transfers, leased, now)
            for task in tasks if read.forced_outcomes else ():
                task.forced_outcome = read.forced_outcomes.get(task.transfer.id)
            fresh += tasks
        # Dead letters, test messages, events without a route, or with an outcome being recorded
        empty = [leased for leased in batch if leased.pending == 0]
        try:
            await self._keep_untaken([read for _, read in reads])
            await self._claim(fresh, group)
        except LedgerError:
            self._abandon(empty, fresh)
            raise
        self._acks.finish(empty)

    def _intake_of(self, leased: LeasedMessage) -> Intake:
        return self._reread if leased.waits else self._intake

    async def _keep_untaken(self, reads: Sequence[MessageContent]) -> None:
        """Record the dead letters and refusals of a batch, in one call of the ledger for each kind."""
        buried = [letter for read in reads for letter in read.letters]
        refusals = [refusal for read in reads for refusal in read.refusals]
        if buried:
            await self._context.ledger.add_dead_letters(buried)
        if refusals:
            await self._context.ledger.add_refusals(refusals)
        if buried or refusals:
            self._outage.note_answer()

    async def _claim(self, fresh: list[TransferTask], group: asyncio.TaskGroup) -> None:
        keys = [task.key for task in fresh]
        self._in_flight.begin_claim(keys)
        ends, asking = find_lease_end(self._context.clock, self._context.ledger.lease), [len(t.messages) for t in fresh]
        try:
            answers = await self._context.claim([task.transfer for task in fresh]) if fresh else []
            if answers:
                self._outage.note_answer()
            for task, answer, count in zip(fresh, answers, asking, strict=True):
                task.lease = Lease(ends, self._context.clock.monotonic)
                self._answered(task, answer, group, task.messages[count:])
        finally:
            self._in_flight.end_claim(keys)

    def _answered(
        self,
        task: TransferTask,
        answer: Claim | Settled | Wait,
        group: asyncio.TaskGroup,
        late: Sequence[LeasedMessage],
    ) -> None:
        """Act on an answer. The messages that are `late` came after the question: one may redrive what was settled then."""
        if isinstance(answer, Claim):
            task.claim = answer
            self._start(task, group)
        elif isinstance(answer, Settled):
            self._reporter.report_duplicate(task.transfer, answer)
            for leased in late:
                leased.retry_at = self._context.clock.time()
            if is_absent(task.transfer, answer):  # the worker that settled it may have died before the other reading
                self._in_flight.read_otherwise(task, self._context.clock.time())
            self._acks.finish(self._in_flight.finish_task(task))
        else:  # the owner of a busy key does not announce its end: ask again, less and less often
            pause = busy_pause(task.messages[0].waits, self._context.random.random()) if answer.busy else inf
            retry_at = self._context.clock.time() + min(answer.delay, pause)
            self._acks.finish(self._in_flight.finish_task(task, retry_at))

    def _start(self, task: TransferTask, group: asyncio.TaskGroup) -> None:
        key = task.key
        if key_queue := self._in_flight.key_queues.get(key):
            key_queue.append(task)
            return
        released_fence = self._in_flight.released_fences.get(key, 0)
        key_queue = self._in_flight.key_queues[key] = KeyQueue(key, [task], released_fence=released_fence)
        name = f"transfer {task.transfer.id}"
        key_queue.runner = group.create_task(self._executor.run(key_queue), name=name)

    def _abandon(self, empty: list[LeasedMessage], fresh: list[TransferTask], *, for_ledger: bool = True) -> None:
        """Schedule a retry of work that did not begin, because the ledger or a source did not answer."""
        now, backoff = self._context.clock.time(), self._policy.executor.backoff
        for leased in [*empty, *(each for task in fresh for each in task.messages)]:
            leased.for_ledger = for_ledger
        for leased in empty:
            leased.retry_at = now + backoff.delay(leased.waits + 1, self._context.random.random())
        self._acks.finish(empty)
        for task in fresh:
            delay = backoff.delay(task.messages[0].waits + 1, self._context.random.random())
            self._acks.finish(self._in_flight.finish_task(task, now + delay))

    async def _release_all(self) -> None:
        """Release work that has not begun at once, and the rest after the grace time. No attempt is counted.

        A queue may hang: then settled messages are redelivered.
        """
        self._acks.give_back()
        running = self._in_flight.key_queues
        await self._release_queues([each for key, each in running.items() if not self._begun(key)])
        clock = self._context.clock
        deadline = clock.monotonic() + self._grace
        while running and (left := deadline - clock.monotonic()) > 0:
            await wait_for_either(asyncio.wait(_list_runners(running.values())), clock.sleep(left))
        await self._release_queues([each for key, each in running.items() if not self._concluding(key)])
        await asyncio.gather(*_list_runners(running.values()), return_exceptions=True)
        await self._executor.drained()
        await self._executor.keep_changing()
        await wait_for_either(self._acks.drained(), clock.sleep(max(FAREWELL, deadline - clock.monotonic())))

    async def _release_queues(self, key_queues: Sequence[KeyQueue]) -> None:
        runners = _list_runners(key_queues)
        for runner in runners:
            runner.cancel()
        await asyncio.gather(*runners, return_exceptions=True)
        for key_queue in key_queues:
            self._in_flight.remove_key_queue(key_queue)  # if its runner was cancelled before it began
        now, ended = self._context.clock.time(), {key_queue.key for key_queue in key_queues}
        left = [task for task in self._in_flight.tasks.values() if task.key in ended]
        changing = {task.key for task in left if self._executor.may_change(task.transfer)}
        released = [Settlement(task.claim, Released(), task.key not in changing) for task in left if task.claim]
        self._executor.unfreed += [each.claim for each in released if not each.last]
        with suppress(LedgerError):  # then the leases expire
            await self._context.ledger.settle(released)
        for task in left:
            self._acks.finish(self._in_flight.finish_task(task, now))

    def _begun(self, key: Key) -> bool:
        return any(task.attempt or task.concluding for task in self._in_flight.tasks.values() if task.key == key)

    def _concluding(self, key: Key) -> bool:
        return any(task.concluding for task in self._in_flight.tasks.values() if task.key == key)


def _list_runners(key_queues: Iterable[KeyQueue]) -> list[asyncio.Task[None]]:
    return [each.runner for each in key_queues if each.runner is not None]
