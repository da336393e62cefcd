"""Process transfers again whose message no longer exists.

A transfer is claimed, or waits for a retry, and its message brings it to an end. The message may be gone first: a ledger that
lost its last second has forgotten the settlement of an acknowledged message, an older backup was restored, or a queue was
purged. The transfer would then wait for ever, and count as lag.

Such a transfer becomes a dead letter that is redriven at once, so the ledger replaces the message. Any worker takes it, looks
at source and destination as for every redriven letter, and adopts a copy that is there. Nothing is sent to a queue: workers
often may not send, and an event of a queue would get another transfer id. If the process ends between the two steps, or the
ledger forgets the second one, the next round redrives the letter.

If the message exists after all, whichever comes second finds the transfer settled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

from skyferry.engine.context import EngineContext
from skyferry.engine.fleet.roles import Confirm, allow
from skyferry.errors import LedgerError, MessageLost
from skyferry.events.native_encoding import encode_event
from skyferry.frozen import dataclass
from skyferry.model import Claim, Failure, ObjectEvent, ObjectRef, State, Transfer
from skyferry.ports import Dead, Filter, Settlement
from skyferry.routing.routes import Route

# Seconds after which a message counts as lost. Waiting messages are leased for 10 minutes at most, and released for as long;
# a longer wait for a retry is part of the time at which the transfer is due. Six times that leaves room for a slow fleet.
LOST = 3600.0
PAUSE = 30.0  # seconds between pages
PAGE = 50  # transfers in one page: after a restored backup, 100 a minute are processed again
WAITING = (State.CLAIMED, State.RETRY)


def find_patience(leases: Sequence[float]) -> float:
    """Return the seconds after which a message counts as lost. `leases` are those of the queues, in seconds."""
    return max(LOST, 2 * max(leases, default=0.0))


@dataclass(frozen=True, slots=True)
class LocalWork:
    """The configuration and the work that are known to this process."""

    routes: Mapping[str, Route]  # by name, of all regions
    has_route: Callable[[Transfer], bool]  # its route is configured and takes it
    find_known: Callable[[Sequence[Transfer]], Collection[str]]  # ids of those that are in flight here, or wait
    blocked: Callable[[], Collection[str]]  # names of stores whose circuit breaker is not closed
    queue_down: Callable[[], bool]  # a queue cannot be received from
    queue: str = ""  # the only queue, from which the messages came; "" = there are several


class LostMessageRecovery:
    """Processes transfers again whose message is lost. Only the worker with the role for housekeeping runs it."""

    name = "lost messages"

    def __init__(self, context: EngineContext, local: LocalWork, patience: float = LOST) -> None:
        self._context, self._local, self._patience = context, local, patience
        self._state, self._cursor = WAITING[0], ""
        self._calm_since = 0.0  # monotonic seconds since which the queues are known to work
        self._blocked_at: dict[str, float] = {}  # when each store was last blocked

    async def run(self, confirm: Confirm = allow) -> None:
        """Look for such transfers until cancelled. `confirm` is called before each page.

        What waited while no worker ran, a queue was down or a store was blocked has the same time to be processed afterwards.
        """
        self._calm_since = self._context.clock.monotonic()
        while True:
            await confirm()
            calm = self._is_calm()
            with suppress(LedgerError):  # the next round continues from the same page
                await self._redrive_letters()
                if calm:
                    await self.recover_page()
            await self._context.clock.sleep(PAUSE)

    async def _redrive_letters(self) -> None:
        """Redrive the letters that a process has left which ended first, or whose redrive was forgotten by the ledger."""
        ledger = self._context.ledger
        if any(reason == MessageLost.kind for _, reason, _ in await ledger.count_dead_letters()):
            await ledger.redrive(Filter(reason=MessageLost.kind))

    async def recover_page(self) -> int:
        """Process the transfers of one page again whose message is lost. Return their number. Raises LedgerError."""
        ledger = self._context.ledger
        page = await ledger.list_transfers(Filter(state=self._state, idle=self._patience), self._cursor, PAGE)
        self._cursor = page.cursor
        if not page.cursor:
            self._state = WAITING[(WAITING.index(self._state) + 1) % len(WAITING)]
        lost = self._find_lost([row.transfer for row in page.items])
        lost = [each for each in lost if await ledger.get_dead_letter(each.id) is None]  # a letter replaces the message
        answers = await self._context.claim(lost) if lost else []  # refused while another worker has the key
        claims = {answer.transfer.id: answer for answer in answers if isinstance(answer, Claim)}
        granted = [claims[transfer.id] for transfer in self._find_lost([claim.transfer for claim in claims.values()])]
        # The lease of the key stays: this process may use it for another transfer.
        settlements = [Settlement(claim, self._make_letter(claim), last=False) for claim in granted]
        recorded = await ledger.settle(settlements) if settlements else []
        found = [claim.transfer for claim, done in zip(granted, recorded, strict=True) if done]
        if found:
            await ledger.redrive(Filter(reason=MessageLost.kind), [transfer.id for transfer in found])
        for transfer in found:
            self._context.reporter.report_lost_message(transfer)
        return len(found)

    def _is_calm(self) -> bool:
        """Note what is down. Return True if no queue was down for long enough."""
        now = self._context.clock.monotonic()
        self._blocked_at.update(dict.fromkeys(self._local.blocked(), now))
        if self._local.queue_down():
            self._calm_since = now
        return now - self._calm_since >= self._patience

    def _find_lost(self, transfers: Sequence[Transfer]) -> list[Transfer]:
        """Return those that no message here brings to an end, and whose stores were not down lately."""
        since = self._context.clock.monotonic() - self._patience
        down = {store for store, at in self._blocked_at.items() if at > since}
        found = [t for t in transfers if self._local.has_route(t) and down.isdisjoint((t.source_store, t.store))]
        known = self._local.find_known(found) if found else ()
        return [t for t in found if t.id not in known]

    def _make_letter(self, claim: Claim) -> Dead:
        error = MessageLost(hint="Redrive the letter.")
        now = self._context.clock.time()
        failure = Failure(claim.attempt, now, error.kind, error.message, counts_as_attempt=False)
        event = build_event(claim.transfer, self._local.routes[claim.transfer.route])
        return Dead(failure, encode_event(event), (), error.hint, self._local.queue)


def build_event(transfer: Transfer, route: Route) -> ObjectEvent:
    """Return a native event that leads to the destination key of a transfer again. The ledger knows the rest of it."""
    source = replace(transfer.source, version="")
    name = str(UUID(transfer.id))
    event = ObjectEvent(name, transfer.change, source, transfer.occurred_at, name)
    if route.directed and route.template.render(event) != transfer.key:
        return replace(event, destination=ObjectRef(route.store_provider, route.store_bucket, transfer.key))
    return event
