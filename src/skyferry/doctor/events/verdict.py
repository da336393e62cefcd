"""Send a canary at a source, and report whether its event arrives."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from skyferry.doctor.check import Check, CheckState, CheckSubject
from skyferry.doctor.events.canary import Canary, CanaryListener, CanaryListeners, listen_for
from skyferry.doctor.stores import CANARY, write_canary
from skyferry.errors import SkyferryError
from skyferry.frozen import dataclass
from skyferry.model import Change
from skyferry.ports import Clock, EventQueue, ObjectStore

AFTERWARDS = 3.0  # seconds to wait for an event of a delete that no route needs, so that no message remains
GLANCE = 1.0  # seconds between checks for a copy
MISSED = (
    "Check the filter of the bucket's notification and its permission to send to the queue. Another service may "
    "have received the event: stop it, and repeat the check."
)


@dataclass(frozen=True, slots=True)
class CanaryTest:
    """The test of one source."""

    subject: Canary
    deletes: bool  # a route propagates deletes
    removes: bool  # a route deletes what it has copied
    wait: float  # seconds, at most, for each event


@dataclass(frozen=True, slots=True)
class CanaryResult:
    """The result of a test."""

    checks: list[Check]
    hearing: frozenset[str] = frozenset()  # names of the queues that were heard


@dataclass(frozen=True, slots=True)
class ExpectedCopy:
    """The copy that a running service would make of the canary."""

    store: ObjectStore
    key: str


async def send_canary(
    place: CheckSubject,
    store: ObjectStore,
    queues: Sequence[EventQueue],
    errand: CanaryTest,
    clock: Clock,
    copies: Sequence[ExpectedCopy] = (),
) -> CanaryResult:
    """Write the canary, wait for its event or its copy, and delete it. It stays only if the delete is denied.

    Without `queues`, events are pushed, and only a running service receives them.
    """
    key = errand.subject.key
    try:
        await write_canary(store, key)
    except SkyferryError as error:
        said = f"no canary can be written to the source: {error.message}"
        return CanaryResult([place.unknown("event", said, "Write an object there, and look at `skyferry transfers`.")])
    began = clock.monotonic()
    async with listen_for(queues, errand.subject, clock) as ears:
        outcome: CanaryListener | ExpectedCopy | None = None
        deleted = None
        try:
            outcome = await _outcome(ears, copies, errand.wait, clock)
        finally:
            removal = await _removed(place, store, key, errand)
        removed = clock.monotonic()
        if isinstance(outcome, CanaryListener) and removal.state is CheckState.OK:
            deleted = await ears.heard(Change.DELETED, errand.wait if errand.deletes else AFTERWARDS)
    if isinstance(outcome, ExpectedCopy):
        said = f"within {removed - began:.1f} s, at a running service, which copied the canary to {outcome.store.name}"
        return CanaryResult([removal, place.ok("event", said + await _swept(copies))])
    if outcome is None:
        return CanaryResult([removal, _missed(place, ears, errand)])
    seconds = outcome.heard[Change.CREATED] - began
    checks = [removal, place.ok("event", f"after {seconds:.2f} s, from queue {outcome.queue.name}")]
    if errand.deletes and removal.state is CheckState.OK:
        checks.append(_deleted(place, deleted, removed, errand))
    return CanaryResult(checks, frozenset({outcome.queue.name}))


async def _outcome(
    ears: CanaryListeners, copies: Sequence[ExpectedCopy], wait: float, clock: Clock
) -> CanaryListener | ExpectedCopy | None:
    """Return the listener that received the event, or the copy that a service made, whichever is first."""
    end = clock.monotonic() + wait
    while (left := end - clock.monotonic()) > 0:
        ear = await ears.heard(Change.CREATED, min(GLANCE, left))
        if found := ear or await _copied(copies):
            return found
        if ears.tasks and all(task.done() for task in ears.tasks):
            return None
    return None


async def _copied(copies: Sequence[ExpectedCopy]) -> ExpectedCopy | None:
    for each in copies:
        with suppress(SkyferryError):
            if (await each.store.read(each.key, 0, len(CANARY) + 1)).data == CANARY:
                return each
    return None


async def _swept(copies: Sequence[ExpectedCopy]) -> str:
    """Delete the copies that are canaries; return a text about those that remain."""
    stay = []
    for each in copies:
        try:
            if await _copied([each]):
                await each.store.delete(each.key)
        except SkyferryError as error:
            stay.append(f"; {each.key} remains ({error.message})")
    return "".join(stay)


async def _removed(place: CheckSubject, store: ObjectStore, key: str, errand: CanaryTest) -> Check:
    try:
        await store.delete(key)
    except SkyferryError as error:
        if errand.removes:
            return place.failed("delete", error)
        return place.unknown("delete", f"denied; the canary remains: {key} ({error.message})", "Delete it by hand.")
    return place.ok("delete", "a canary at the source")


def _deleted(place: CheckSubject, ear: CanaryListener | None, since: float, errand: CanaryTest) -> Check:
    if ear is None:
        return place.wrong("delete-event", f"not within {errand.wait:g} s", MISSED)
    return place.ok("delete-event", f"after {max(0.0, ear.heard[Change.DELETED] - since):.2f} s")


def _missed(place: CheckSubject, ears: CanaryListeners, errand: CanaryTest) -> Check:
    if not ears.each:
        said = f"no service has copied a canary within {errand.wait:g} s, and only a service receives pushed events"
        return place.unknown("event", said, "Start the service, and repeat the check.")
    failed = next((ear for ear in ears.each if ear.failure), None)
    if failed and failed.failure:
        return place.failed("event", failed.failure)
    if all(ear.full for ear in ears.each):
        return place.unknown("event", "too many other messages wait", "Repeat the check when the queue is shorter.")
    others = sum(len(ear.others) for ear in ears.each)
    said = f"not within {errand.wait:g} s" + (f", among {others} other messages" if others else "")
    return place.wrong("event", said, MISSED)
