"""Run all checks: each store, each queue, each route."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from skyferry.clock import SystemClock
from skyferry.config.regions import routes_here
from skyferry.config.settings import QueueSettings, RouteSettings, Settings
from skyferry.config.urls import resolve_queue, resolve_store
from skyferry.doctor import facts as bucket_facts
from skyferry.doctor import leases as holds
from skyferry.doctor.check import FIRST_RUN, Check, CheckState, CheckSubject
from skyferry.doctor.copy_time import ReadSpeed
from skyferry.doctor.events import notifications as notices
from skyferry.doctor.events.canary import Canary
from skyferry.doctor.events.listening import ListeningPlan, may_listen, plan_listening
from skyferry.doctor.events.verdict import CanaryResult, CanaryTest, ExpectedCopy, send_canary
from skyferry.doctor.ledger import files
from skyferry.doctor.ledger.limits import check_shared_limits
from skyferry.doctor.ledger.records import check_records
from skyferry.doctor.requirements import StoreRequirements, require_stores
from skyferry.doctor.stores import NOTHING, StoreExamination, make_canary_key
from skyferry.engine.telemetry import NullObserver
from skyferry.errors import SkyferryError
from skyferry.model import Change, ObjectEvent
from skyferry.ports import Clock, DurableQueue
from skyferry.ports.inspection import DELETE, BucketFacts, InspectableQueue, Notice, QueueFacts, Unknown
from skyferry.routing.origins import Origin
from skyferry.routing.routes import Routes
from skyferry.wiring import Opener
from skyferry.wiring.endpoints import identify_services

REMOVE = "Run with --events to write and delete a canary at the source."

SPARED = "has messages, and its redrive policy leaves no spare receives"


@dataclass(frozen=True, slots=True)
class Scope:
    """The permitted effects of checks."""

    write: bool = True  # canaries at destinations
    events: bool = False  # canaries at sources, and messages of the queues received on the way to their events
    prefix: str = "skyferry-doctor/"  # of the keys of canaries
    wait: float = 60.0  # seconds, at most, for an event


async def examine(settings: Settings, scope: Scope, clock: Clock | None = None) -> list[Check]:
    """Return all checks, in the order stores, queues, routes, ledger. Faults are checks, not errors."""
    opener = Opener(settings, clock or SystemClock())
    try:
        return await _Doctor(await identify_services(opener, NullObserver()), scope).run()
    finally:
        await opener.close()


@dataclass
class _Doctor:
    opener: Opener
    scope: Scope
    facts: dict[str, BucketFacts | Unknown] = field(default_factory=dict)  # of stores, by name
    queues: dict[str, QueueFacts | Unknown] = field(default_factory=dict)  # of clouds, by name
    hearing: set[str] = field(default_factory=set)  # queues that messages were received from
    waiting: dict[str, int] = field(default_factory=dict)  # messages, by queue; -1 = it does not report it
    taken: dict[str, float] = field(default_factory=dict)  # seconds that a request to a queue took, by name
    paces: dict[str, list[ReadSpeed]] = field(default_factory=dict)  # of sources, by name

    async def run(self) -> list[Check]:
        of_stores, of_queues, of_routes = [], [], []
        settings = self.opener.settings
        for each in require_stores(settings):
            of_stores += await self._store(each)
        reached = {queue.name: await self._reached(queue) for queue in settings.queues}
        for each in require_stores(settings):
            of_stores += await self._events(each)
        of_ledger = await files.check_ledger(self.opener)
        is_reached = all(check.name != "reach" or check.state is CheckState.OK for check in of_ledger)
        known = {check.detail for check in of_ledger}
        records = [c for c in await check_records(self.opener) if c.detail not in known] if is_reached else []
        of_stores += [check for check in records if check.kind == "store"]
        if is_reached and (maintenance := self.opener.ledger_maintenance()):
            of_stores += check_shared_limits(settings, maintenance.where)
        for queue in settings.queues:
            of_queues += await self._queue(queue, reached[queue.name])
        of_queues += [*await self._letters(), *of_ledger]
        of_queues += [check for check in records if check.kind == "ledger"]
        for route in routes_here(settings):
            of_routes += self._route(route)
        return [*_by_store(of_stores, settings), *of_queues, *of_routes]

    async def _store(self, wanted: StoreRequirements) -> list[Check]:
        where = resolve_store(self.opener.settings.stores[wanted.store])
        url = where.url
        relative = url.on_disk and not Path(url.location).is_absolute()
        if relative and not url.path(self.opener.settings.workspace).exists():
            return [CheckSubject("store", wanted.store).unknown("reach", "the folder does not exist yet", FIRST_RUN)]
        try:
            store = self.opener.store(wanted.store)
        except SkyferryError as error:
            return [CheckSubject("store", wanted.store).failed("reach", error)]
        examination = StoreExamination(store, wanted, self.opener.clock)
        try:
            await examination.run(self.scope.prefix if self.scope.write else None)
        finally:
            await store.close()
        if examination.reached:
            self.facts[wanted.store] = examination.facts
        self.paces[wanted.store] = examination.paces
        who = where.settings.identity
        return [bucket_facts.add_configured_identity(check, who) for check in examination.checks]

    async def _reached(self, settings: QueueSettings) -> Check:
        place, clock = CheckSubject("queue", settings.name), self.opener.clock
        try:
            if file := self.opener.durable_queue(settings):
                return await self._reach_file(place, file)
            queue = self.opener.queue(settings.name)
        except SkyferryError as error:
            return place.failed("reach", error)
        began = clock.monotonic()
        try:
            if isinstance(queue, InspectableQueue):
                self.queues[settings.name] = Unknown("it was not reached")
                self.queues[settings.name] = await queue.inspect()
            asked = clock.monotonic()
            depth = await queue.depth()
            self.waiting[settings.name] = depth.ready
            self.taken[settings.name] = clock.monotonic() - (asked if depth.ready >= 0 else began)
        except SkyferryError as error:
            return place.failed("reach", error)
        finally:
            await queue.close()
        facts = self._queue_facts(settings.name)
        said = [facts.endpoint] if facts else []
        said += [f"waiting messages: {depth.ready:,}"] if depth.ready >= 0 else []
        return place.ok("reach", ", ".join(said))

    async def _reach_file(self, place: CheckSubject, file: DurableQueue) -> Check:
        """Read a queue in a file, which opening it would create or change. Raises QueueError."""
        if not await file.exists():
            return place.unknown("reach", f"{file.where} does not exist yet", FIRST_RUN)
        began = self.opener.clock.monotonic()
        depth = await file.read_depth()
        self.waiting[place.name], self.taken[place.name] = depth.ready, self.opener.clock.monotonic() - began
        return place.ok("reach", f"waiting messages: {depth.ready:,}")

    async def _queue(self, settings: QueueSettings, reached: Check) -> list[Check]:
        place, facts = CheckSubject("queue", settings.name), self._queue_facts(settings.name)
        checks = [reached, *await files.check_queue(self.opener, settings)]
        if reached.state is not CheckState.OK:
            return checks
        if facts:
            who = resolve_queue(settings).settings.identity
            judged = holds.check_queue_facts(place, facts)
            checks += [bucket_facts.add_configured_identity(check, who) for check in judged]
            checks = [place.ok("receive") if c.name == "receive" and c.where in self.hearing else c for c in checks]
        max_hold = resolve_queue(settings).url.known.traits.max_hold
        checks.append(holds.check_lease(place, settings.lease, self.taken[settings.name], max_hold))
        return [*checks, holds.check_copy_time(place, settings.lease, self._slowest(settings.name), max_hold)]

    def _slowest(self, queue: str) -> ReadSpeed | None:
        """Return the slowest of the sources whose events come by this queue, as far as known."""
        routes = routes_here(self.opener.settings)
        if queue in self.queues:
            routes = tuple(
                r
                for r in routes
                if queue in plan_listening(r, self._notices(r.source), self._queues_of(r.source)).queues
            )
        paces = [pace for route in routes for pace in self.paces.get(route.source, [])]
        return max(paces, key=lambda pace: pace.seconds, default=None)

    async def _letters(self) -> list[Check]:
        """Check the queue of dead letters: whether it responds, and permits sending as far as it reports that."""
        if (wanted := self.opener.settings.dead_letters) is None:
            return []
        place = CheckSubject("queue", wanted.name)
        try:
            if file := self.opener.durable_queue(wanted):
                return [await self._reach_file(place, file)]
            queue = self.opener.dead_letters()
            assert queue is not None  # it is configured
            try:
                depth = await queue.depth()
                may = await queue.sends() if isinstance(queue, InspectableQueue) else None
            finally:
                await queue.close()
        except SkyferryError as error:
            return [place.failed("reach", error)]
        sends = [] if may is None else [holds.check_sending(place, may)]
        if depth.ready >= 0:
            return [place.ok("reach", f"waiting messages: {depth.ready:,}"), *sends]
        return [place.unknown("reach", "it only responds to messages"), *sends]

    def _queue_facts(self, name: str) -> QueueFacts | None:
        facts = self.queues.get(name)
        return None if isinstance(facts, Unknown) else facts

    def _route(self, route: RouteSettings) -> list[Check]:
        store = self.opener.settings.stores[route.source]
        if resolve_store(store).url.on_disk and store.watch:
            return [CheckSubject("route", route.name).ok("notified", "the service watches the folder")]
        endpoints = [endpoint.name for endpoint in self.opener.settings.push]
        return list(
            notices.check_notifications(route, self._notices(route.source), self._queues_of(route.source), endpoints)
        )

    async def _events(self, wanted: StoreRequirements) -> list[Check]:
        """Check the events of a source, and the permission to delete copied objects there."""
        if not wanted.reads or wanted.store not in self.facts:
            return []
        place, url = CheckSubject("store", wanted.store), resolve_store(self.opener.settings.stores[wanted.store]).url
        if not self.scope.events or url.on_disk:
            return self._removals(place, wanted)
        facts = self.facts[wanted.store]
        if not isinstance(facts, Unknown) and facts.kept:
            return [
                place.unknown("event", f"not tried: {facts.kept}, which includes canaries"),
                *self._removals(place, wanted),
            ]
        route = next(route for route in routes_here(self.opener.settings) if route.source == wanted.store)
        where = plan_listening(route, self._notices(wanted.store), self._queues_of(wanted.store))
        spared = [q for q in where.queues if not may_listen(self.queues[q], self.waiting.get(q, -1))]
        if spared:
            return [place.unknown("event", f"not tried: {', '.join(spared)} {SPARED}"), *self._removals(place, wanted)]
        if not where.queues and not self.opener.settings.push:
            said = "not tried: it notifies no queue that is reachable here"
            return [place.unknown("event", said), *self._removals(place, wanted)]
        found = await self._tried(place, where.queues, self._errand(wanted, where))
        self.hearing |= found.hearing
        return found.checks

    def _queues_of(self, store: str) -> dict[str, QueueFacts | Unknown]:
        """Return the reachable queues whose settings allow events of this store."""
        stores = {queue.name: queue.stores for queue in self.opener.settings.queues}
        return {name: facts for name, facts in self.queues.items() if not stores[name] or store in stores[name]}

    def _removals(self, place: CheckSubject, wanted: StoreRequirements) -> list[Check]:
        """Check the permission to delete by the provider's answer."""
        facts = self.facts.get(wanted.store, NOTHING)
        return [bucket_facts.check_permission(place, DELETE, facts, REMOVE)] if wanted.removes else []

    def _errand(self, wanted: StoreRequirements, where: ListeningPlan) -> CanaryTest:
        routes = [route for route in routes_here(self.opener.settings) if route.source == wanted.store]
        _, bucket = resolve_store(self.opener.settings.stores[wanted.store]).address
        return CanaryTest(
            Canary(bucket, make_canary_key(f"{where.shape.prefix}{self.scope.prefix}", where.shape.suffix)),
            deletes=where.deletes and any(route.deletes == "propagate" for route in routes),
            removes=wanted.removes,
            wait=self.scope.wait,
        )

    async def _tried(self, place: CheckSubject, names: Sequence[str], errand: CanaryTest) -> CanaryResult:
        store, queues = self.opener.store(place.name), [self.opener.queue(name) for name in names]
        copies = self._copies(place.name, errand.subject)
        try:
            return await send_canary(place, store, queues, errand, self.opener.clock, copies)
        finally:
            for each in (store, *(copy.store for copy in copies)):
                await each.close()
            for queue in queues:
                await queue.close()

    def _copies(self, source: str, subject: Canary) -> list[ExpectedCopy]:
        """Return the copies that a running service would make of the canary."""
        settings = self.opener.settings
        ref = Origin.of(source, settings.stores[source]).ref(subject.key)
        event = ObjectEvent("doctor", Change.CREATED, ref, self.opener.clock.time())
        found = [transfer for transfer in Routes(settings).match(event) if transfer.source_store == source]
        return [ExpectedCopy(self.opener.store(transfer.store), transfer.key) for transfer in found]

    def _notices(self, store: str) -> tuple[Notice, ...] | Unknown:
        facts = self.facts.get(store, NOTHING)
        return facts if isinstance(facts, Unknown) else facts.notices


def _by_store(checks: list[Check], settings: Settings) -> list[Check]:
    """Sort the checks by store."""
    return [check for name in settings.stores for check in checks if check.where == name]
