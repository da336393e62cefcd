"""One simulated run: source objects change, events arrive twice, late and out of order, workers crash and freeze."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from skyferry.config.settings import QueueSettings, RouteSettings, Settings, StoreSettings
from skyferry.engine.consume.intake import EventReader
from skyferry.engine.consume.key_queues import ExecutorPolicy
from skyferry.engine.consume.worker import Worker, WorkerPolicy
from skyferry.engine.context import EngineContext
from skyferry.engine.copy.copier import Copier
from skyferry.engine.copy.digests import InlineOffload
from skyferry.engine.copy.strategy import PartLimits
from skyferry.engine.dead_letters.intercept import InterceptingQueue
from skyferry.engine.dead_letters.lost_messages import WAITING, LocalWork, LostMessageRecovery
from skyferry.engine.dead_letters.outbox import Outbox
from skyferry.engine.dead_letters.redrive import RedriveQueue
from skyferry.engine.resilience.circuit_breaker import Breaker, BreakerPolicy, BreakerState
from skyferry.engine.resilience.memory_budget import MemoryBudget
from skyferry.engine.resilience.protection import Protection, protect_store
from skyferry.errors import PermissionDenied
from skyferry.events.native_encoding import encode_event
from skyferry.frozen import dataclass
from skyferry.model import Attributes, Change, Checksums, ObjectEvent, ObjectMeta, ObjectRef, Provider
from skyferry.ports import Clock, EventQueue, Filter, ObjectData, ObjectStore, Observer, Outgoing, letter_attributes
from skyferry.ports.decorators import FINISH_UPLOAD, START_UPLOAD, WRITE, WRITE_STREAM, Operation, StoreDecorator
from skyferry.queues.dead_letter_sink import QueueDeadLetters
from skyferry.queues.memory import MemoryQueue, QueueState
from skyferry.records import Record
from skyferry.retry import Backoff
from skyferry.routing.routes import Routes
from skyferry.stores.memory import MemoryBucket, MemoryStore
from skyferry.testing.simulation.chaos import LEDGER_ERRORS, QUEUE_ERRORS, STORE_ERRORS, Chaos, Weather
from skyferry.testing.simulation.ledgers import ForgetfulEngine, LedgerEngine, MemoryEngine
from skyferry.testing.simulation.loop import PROCESS, Deadlock, SimulatedClock, SimulatedLoop
from skyferry.testing.simulation.plan import Plan
from skyferry.testing.simulation.rules import Rules, WatchedDestination, WatchedLedger, WatchedQueue, WatchedSink

MEMORY = 512  # bytes of object data allowed in memory
PART = 256  # bytes; some objects are several times as long and are copied in parts
IMPOSSIBLE = "impossible"  # a key that the destination always refuses


class Simulation:
    """A simulated run of the engine. The same seed and plan always give the same run."""

    def __init__(
        self,
        seed: int,
        plan: Plan,
        observer: Observer | None = None,
        engine: Callable[[Clock], LedgerEngine] = MemoryEngine,
    ) -> None:
        """Give the ledger the clock of the world."""
        self._ears = _Ears(observer)
        self._dice = random.Random(seed)
        self._plan = plan
        self.loop = SimulatedLoop(random.Random(self._dice.random()))
        self.clock = SimulatedClock(self.loop)
        self._source, self._destination = MemoryBucket("source"), MemoryBucket("destination")
        self._engine = engine(self.clock)
        self._queue_state, self._dead_state = QueueState(), QueueState()
        self._settings = Settings(
            stores={
                "source": StoreSettings(url="memory://source"),
                "destination": StoreSettings(url="memory://destination"),
            },
            routes=(
                RouteSettings.model_validate(
                    {"name": "r", "from": "source", "to": "destination", "deletes": "propagate"}
                ),
            ),
            queues=(QueueSettings(name="events", url="memory://events"),),
        )
        self._routes = Routes(self._settings)
        self._peak = 0
        self._workers: dict[str, Worker] = {}
        self._connections: dict[str, Chaos] = {}  # of each worker to the destination
        self._began, self._writer = asyncio.Event(), ""  # set when a worker begins a write
        self._tasks: list[asyncio.Task[Any]] = []
        self._born = 0
        self._sent: list[str] = []
        outside = self._outside = MemoryStore("source", self.clock, self._source)
        self._rules = Rules(
            self._engine.open("rules"),
            outside,
            MemoryStore("destination", self.clock, self._destination),
            MEMORY,
            self.clock,
        )

    def run(self) -> list[str]:
        """Run it and return the breaches of the six rules; [] if there are none."""
        asyncio.set_event_loop(self.loop)
        try:
            return self.loop.run_until_complete(self._main())
        finally:
            self._ears.observer = None  # open tasks are cancelled in no defined order
            self.loop.crashed.clear()
            for task in self._tasks:
                task.cancel()
            with suppress(
                Deadlock
            ):  # a step that a crashed process was about to make is lost, and so its task never ends
                self.loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
            asyncio.set_event_loop(None)
            self.loop.close()

    async def _main(self) -> list[str]:
        for _ in range(self._plan.workers):
            self._start_worker()
        trouble = self.loop.spawn("fate", self._trouble(), "fate")
        await self._change_things()
        await trouble
        while not await self._at_rest():
            if self.clock.monotonic() > self._plan.limit:
                self._rules.breach(1, "the run never became idle")
                break
            await self.clock.sleep(max(5.0, self.clock.monotonic() / 60))
        self._rules.received_once(self._plan)
        self._rules.check_tasks(self._tasks)
        return await self._rules.at_the_end(self._sent, self._peak, frozenset({IMPOSSIBLE}))

    async def _at_rest(self) -> bool:
        depth = await self._queue().depth()
        busy = any(not worker.idle for worker in self._workers.values())  # a frozen worker may have to undo a write
        if depth.ready or depth.leased or depth.delayed or busy:
            return False
        return not (await self._rules.has_unsettled_transfers() or await self._rules.has_unpublished_letters())

    # --- what happens outside -------------------------------------------------------------------------------------

    async def _change_things(self) -> None:
        dice, plan = self._dice, self._plan
        for _ in range(plan.changes):
            await self.clock.sleep(dice.random() * 2 * plan.period / plan.changes)
            kind = dice.random()
            if kind < 0.04:
                await self._send(dice.randbytes(12), poison=True)
            elif kind < 0.1:
                await self._put(IMPOSSIBLE)
            elif kind < 0.25:
                await self._delete(f"key-{dice.randrange(plan.keys)}")
            elif kind < 0.4:
                await self._mark(f"key-{dice.randrange(plan.keys)}")
            else:
                await self._put(f"key-{dice.randrange(plan.keys)}")

    async def _put(self, key: str) -> None:
        sizes = (6 * PART,) if self._plan.large else (0, 7, PART - 1, PART, PART + 1, 3 * PART + 5)
        size = self._dice.choice(sizes)
        data = self._dice.randbytes(size)
        meta = await self._outside.write(key, data, Attributes(), Checksums())
        self._rules.put_at_source(key, data)
        await self._announce(Change.CREATED, meta)

    async def _mark(self, key: str) -> None:
        """Change what an object carries, and not its bytes."""
        if not [m async for m in self._outside.list(key)]:
            return
        found = await self._outside.head(key)
        marked = Attributes(metadata={"mark": self._uuid()}, tags={"mark": self._uuid()})
        await self._announce(Change.CREATED, await self._outside.set_attributes(found, marked))

    async def _delete(self, key: str) -> None:
        if not [m async for m in self._outside.list(key)]:
            return
        meta = await self._outside.head(key)
        await self._outside.delete(key)
        await self._announce(Change.DELETED, meta)

    async def _announce(self, change: Change, meta: ObjectMeta) -> None:
        event = ObjectEvent(
            event_id=self._uuid(),
            change=change,
            source=ObjectRef(Provider.MEMORY, "source", meta.key),
            occurred_at=self.clock.time(),
            correlation_id=self._uuid(),
            position=meta.position if self._dice.random() < 0.8 else None,  # some senders have no positions
            size=meta.size if self._dice.random() < 0.5 else None,
        )
        ids = [t.id for t in self._routes.match(event)]
        for _ in range(self._dice.choice((1, 1, 1, 2, 3))):
            await self._send(encode_event(event), ids)

    async def _send(self, body: bytes, transfers: list[str] | None = None, poison: bool = False) -> None:
        late = self._dice.random() * self._dice.choice((0.0, 1.0, 60.0))
        (message_id,) = await self._queue().send([Outgoing(body, delay=late)])
        self._sent.append(message_id)
        self._rules.expected[message_id] = transfers or []
        if poison:
            self._rules.poison[message_id] = body

    async def _trouble(self) -> None:
        """Cause crashes, freezes and clock changes at random times; a crashed worker is replaced after a while."""
        dice, plan = self._dice, self._plan
        faults = {
            "crash": plan.crashes,
            "freeze": plan.freezes,
            "clock": plan.clock_steps,
            "rollback": plan.rollbacks,
            "loss": plan.losses,
        }
        kinds = [*(kind for kind, count in faults.items() for _ in range(count)), "redrive", "move"]
        dice.shuffle(kinds)
        for kind in kinds:
            await self.clock.sleep(dice.random() * 2 * plan.period / max(1, len(kinds)))
            process = await self._choose_victim()
            if kind == "loss":  # then the worker with the messages crashes or stops, or it would finish its work
                await self._lose_messages()
                kind = dice.choice(("crash", "crash", "freeze"))
            if kind in ("crash", "freeze"):
                self._connections[process].disconnect()
            if kind == "crash":
                self.loop.crashed.add(process)
                del self._workers[process]
                await self.clock.sleep(dice.random() * 10)
                self._start_worker()
            elif kind == "redrive":
                await self._engine.open("operator").redrive(Filter())
            elif kind == "move":
                await self._move()
            elif kind == "clock":
                self.clock.ahead = dice.uniform(-3600.0, 3600.0)
            elif kind == "rollback":
                assert isinstance(self._engine, ForgetfulEngine)
                with self._rules.forget_claims():
                    await self._engine.lose_second(self._rules.forgotten)
            else:
                dice.choice((self.loop.freeze, self.loop.suspend))(process, 20 + dice.random() * 100)

    async def _lose_messages(self) -> None:
        """Remove the messages of transfers that are claimed or wait for a retry from the queue."""
        ledger = self._engine.open("operator")
        pages = [await ledger.list_transfers(Filter(state=state), limit=1000) for state in WAITING]
        unsettled = {row.transfer.id for page in pages for row in page.items}
        for message_id, transfers in self._rules.expected.items():
            if transfers and unsettled.issuperset(transfers) and self._queue_state.lose(message_id):
                self._sent.remove(message_id)
                self._rules.lost.update(transfers)

    async def _choose_victim(self) -> str:
        """Return a worker. Often wait until one begins a write: that is the worst moment."""
        if self._dice.random() < 0.7:
            self._began = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(10.0):
                    await self._began.wait()
                    if self._writer in self._workers:
                        return self._writer
        return self._dice.choice(sorted(self._workers))

    async def _move(self) -> None:
        """Move dead letters back to their queue, some of them twice, as the providers' tools do."""
        dead = MemoryQueue("dead", self.clock, state=self._dead_state)
        messages = await dead.receive(10, 0)
        for message in messages:
            told = dict(message.attributes)
            for _ in range(self._dice.choice((1, 2))):
                late = self._dice.random() * self._dice.choice((0.0, 60.0))
                moved = Outgoing(message.body, message.attributes, delay=late)
                (message_id,) = await self._queue().send([moved])
                self._sent.append(message_id)
                self._rules.expected[message_id] = (
                    [told[letter_attributes.LETTER]] if letter_attributes.ROUTE in told else []
                )
                if letter_attributes.ROUTE not in told:
                    self._rules.poison[message_id] = message.body
        await dead.ack(messages)

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._dice.getrandbits(128), version=4))

    # --- a worker -------------------------------------------------------------------------------------------------

    def _start_worker(self) -> None:
        self._born += 1
        process = f"worker-{self._born}"
        worker = self._workers[process] = self._worker(process)
        if self._plan.sabotage:
            self._plan.sabotage(worker)
        self._tasks.append(self.loop.spawn(process, worker.run(), process))

    def _worker(self, process: str) -> Worker:
        dice = random.Random(self._dice.random())
        clock = SimulatedClock(self.loop, self.clock, dice.uniform(-self._plan.skew, self._plan.skew))
        ledger = WatchedLedger(self._engine.open(process), self._rules)
        queue = WatchedQueue(self._queue(), self._rules)
        stormy = self._plan.weather
        fair = Weather(stormy.latency, stormy.stall, stormy.stall_seconds, stormy.fail, 0.02 * self._plan.declares)
        chaotic = Chaos(ledger, fair, dice, clock, LEDGER_ERRORS)
        context = EngineContext(
            ledger=chaotic,
            routes=self._routes.by_name,
            breakers={name: Breaker(BreakerPolicy(), clock) for name in ("source", "destination")},
            clock=clock,
            random=dice,
            observer=self._ears,
        )
        told = MemoryStore("source", self.clock, self._source)
        source = Chaos(told if self._plan.declares else _Silent(told), fair, dice, clock, STORE_ERRORS)
        inner = _Refusing(WatchedDestination(MemoryStore("destination", self.clock, self._destination), self._rules))
        connection = self._connections[process] = Chaos(inner, stormy, dice, clock, STORE_ERRORS)
        destination = _Metered(connection, self)
        budget = MemoryBudget(MEMORY)
        stores = {
            name: protect_store(store, Protection(context.breakers[name], clock, context.observer, context.random))
            for name, store in (("source", source), ("destination", destination))
        }
        copier = Copier(stores, budget, InlineOffload(), clock, PartLimits(PART, 2, 64, streamed=3 * PART))
        executor = ExecutorPolicy(transfers=4, large_transfers=2, backoff=Backoff(1.0, 60.0), batch=8)
        policy = WorkerPolicy(held_messages=16, batch=8, drain=5.0, poll=self._plan.poll, executor=executor)
        events = InterceptingQueue(Chaos(queue, fair, dice, clock, QUEUE_ERRORS), chaotic, context.reporter)
        queues: list[EventQueue] = [events, RedriveQueue(chaotic, clock, poll=self._plan.poll)]
        dead = Chaos(MemoryQueue("dead", self.clock, state=self._dead_state), fair, dice, clock, QUEUE_ERRORS)
        outbox = Outbox(context, WatchedSink(QueueDeadLetters(dead), self._rules), Backoff(1.0, 60.0), self._plan.poll)
        self._tasks.append(self.loop.spawn(process, outbox.run(), f"outbox of {process}"))
        worker = Worker(context, EventReader(self._routes), copier, queues, policy)
        recovery = LostMessageRecovery(context, self._find_local_work(context, worker))
        self._tasks.append(self.loop.spawn(process, recovery.run(), f"recovery of {process}"))
        return worker

    def _find_local_work(self, context: EngineContext, worker: Worker) -> LocalWork:
        def list_blocked() -> list[str]:
            found = context.breakers.items()
            return [store for store, each in found if each.state is not BreakerState.CLOSED and each.time_left]

        routes = self._routes
        return LocalWork(routes.by_name, routes.leads, worker.find_known, list_blocked, lambda: False, "events")

    def _queue(self) -> MemoryQueue:
        return MemoryQueue("events", self.clock, state=self._queue_state)

    def send(self, used: int, operation: Operation) -> None:
        """Record that one worker has `used` bytes in memory, and begins a request."""
        self._peak = max(self._peak, used)
        if operation in (WRITE, WRITE_STREAM, FINISH_UPLOAD):
            self._writer = PROCESS.get()
            self._began.set()


@dataclass(slots=True)
class _Ears:
    """The observer of a run, until the run ends."""

    observer: Observer | None

    def on(self, record: Record) -> None:
        if self.observer is not None:
            self.observer.on(record)


class _Silent(StoreDecorator):
    """A source that returns no checksums."""

    async def head(self, key: str) -> ObjectMeta:
        return replace(await self.inner.head(key), checksums=Checksums())

    async def read(self, key: str, start: int, length: int, *, version: str = "") -> ObjectData:
        got = await self.inner.read(key, start, length, version=version)
        return replace(got, meta=replace(got.meta, checksums=Checksums()))


class _Refusing(StoreDecorator):
    """A destination that always refuses one key."""

    async def _request(self, operation: Operation, key: str, size: int, call: Any, *args: Any) -> Any:
        if key == IMPOSSIBLE and operation in (WRITE, WRITE_STREAM, START_UPLOAD):
            raise PermissionDenied("simulated")
        return await call(*args)


class _Metered(StoreDecorator):
    """A destination that counts the bytes on the way to it."""

    def __init__(self, inner: ObjectStore, simulation: Simulation) -> None:
        super().__init__(inner)
        self._simulation, self._bytes = simulation, 0

    async def _request(self, operation: Operation, key: str, size: int, call: Any, *args: Any) -> Any:
        sent = min(size, PART) if operation.sends else 0  # of a stream, no more is in memory
        self._bytes += sent
        self._simulation.send(self._bytes, operation)
        try:
            return await call(*args)
        finally:
            self._bytes -= sent
