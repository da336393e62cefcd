"""Transfers whose route the configuration does not have any more: each of them ends, and says why.

A redriven letter ends at once: its transfer becomes a dead letter again (`no_route`), unless another route brings the event
to the same destination key. What waits for a message that makes other transfers now, or that never comes again, is
found by looking through what has been left untouched, a page at a time. Ended so, it can still be claimed by a worker
whose configuration has the route, so that no order of configuration changes loses anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass

from skyferry.engine.consume.attempt import OpenUploads
from skyferry.engine.consume.in_flight import LeasedMessage
from skyferry.engine.consume.intake import Read, left_behind
from skyferry.engine.context import EngineContext
from skyferry.errors import LedgerError, SkyferryError, UnroutedBucket
from skyferry.model import Claim, Failure, State, Transfer
from skyferry.ports import Dead, Filter, Ledger, Settlement, Skipped, letters

ENDED = Skipped("no_route")
UNTOUCHED = 60.0  # seconds after it was due, in which its message would have come again
PAUSE = 30.0  # seconds between pages
PAGE = 500  # transfers looked at at once
WAITING = (State.RETRY, State.CLAIMED)


async def end_redriven(ledger: Ledger, leased: LeasedMessage, read: Read, now: float) -> None:
    """Give the transfer of a redriven letter an outcome, if its message does not ask for it any more. Raises LedgerError."""
    if any(transfer.id == leased.letter for transfer in read.transfers):
        return
    row = await ledger.transfer(leased.letter)
    if row is None or row.state.settled:
        return
    old = row.transfer
    same = next((letter for letter in read.letters if letter.id == leased.letter), None)
    replaced = any(letter.reason == UnroutedBucket.kind for letter in read.letters)
    if replaced or any((new.store, new.key) == (old.store, old.key) for new in read.transfers):
        read.forced_outcomes[old.id] = ENDED
    else:
        error = left_behind()
        reason, message, hint = (same.reason, same.message, same.hint) if same else (error.kind, "", error.hint)
        message = message or f"route {old.route} does not bring it to {old.store}: {old.key} any more"
        failure = Failure(row.attempts + 1, now, reason, message, counts_as_attempt=True)
        body, attributes = leased.message.body, letters.kept(leased.message.attributes)
        read.forced_outcomes[old.id] = Dead(failure, body, attributes, hint, leased.origin)
    if same is not None:
        read.letters.remove(same)
    read.transfers.append(old)


@dataclass(frozen=True, slots=True)
class Here:
    """What this process has to do with transfers."""

    leads: Callable[[Transfer], bool]  # whether its route is still there and takes it
    in_hand: Callable[[str], bool]  # by id
    stores: Collection[str]  # names of those that can be reached
    give_up: Callable[[Transfer, OpenUploads], Awaitable[None]]  # aborts uploads. Raises StoreError


class Leftovers:
    """Ends what waits for routes that are gone."""

    def __init__(self, context: EngineContext, here: Here) -> None:
        self._context, self._here = context, here
        self._state, self._cursor = WAITING[0], ""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with suppress(LedgerError):  # the next round goes on there
                await self.look()
            await self._context.clock.sleep(PAUSE)

    async def look(self) -> int:
        """End those of one page; how many. Raises LedgerError."""
        now = self._context.clock.time()
        where = Filter(state=self._state, until=now - UNTOUCHED)
        page = await self._context.ledger.transfers(where, self._cursor, PAGE)
        self._cursor = page.cursor
        if not page.cursor:
            self._state = WAITING[(WAITING.index(self._state) + 1) % len(WAITING)]
        left = [
            row.transfer for row in page.items if (row.due_at or 0.0) <= now - UNTOUCHED and self._left(row.transfer)
        ]
        answers = await self._context.ledger.claim(left) if left else []
        claims = [answer for answer in answers if isinstance(answer, Claim) and self._left(answer.transfer)]
        settlements = [await self._end(claim) for claim in claims]
        recorded = await self._context.ledger.settle(settlements) if settlements else []
        for claim, done in zip(claims, recorded, strict=True):
            if done:
                self._context.reporter.report_outcome(claim.transfer, claim.attempt, ENDED)
        return sum(recorded)

    def _left(self, transfer: Transfer) -> bool:
        return not self._here.leads(transfer) and not self._here.in_hand(transfer.id)

    async def _end(self, claim: Claim) -> Settlement:
        """The lease of the key is not freed: the worker of this process may have it, for another transfer."""
        uploads = OpenUploads()
        uploads.merge(claim.uploads)
        if uploads.known and claim.transfer.store in self._here.stores:
            with suppress(SkyferryError):  # `skyferry gc` finds it
                await self._here.give_up(claim.transfer, uploads)
        return Settlement(claim, ENDED, last=False, closed=tuple(uploads.closed))
