"""Settle transfers whose route is no longer configured, with a reason.

A redriven letter settles at once. Its transfer becomes a dead letter again (`no_route`), unless another route copies the
event to the same destination key. Other transfers wait for a message that now leads to other transfers, or that never
is redelivered. These are found page by page among the transfers that have not changed for a while. A settled orphan can
still be claimed by a worker whose configuration has the route, so no order of configuration changes loses anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Protocol

from skyferry.engine.consume.attempt import Lease, OpenUploads, find_lease_end
from skyferry.engine.consume.in_flight import LeasedMessage
from skyferry.engine.consume.intake import MessageContent, no_route_error
from skyferry.engine.context import EngineContext
from skyferry.engine.fleet.roles import Confirm, allow
from skyferry.errors import LedgerError, SkyferryError, UnroutedBucket
from skyferry.frozen import dataclass, replace
from skyferry.model import Claim, Failure, State, Transfer
from skyferry.ports import Claims, Dead, Filter, Settlement, Skipped, Transfers, letter_attributes

NO_ROUTE = Skipped("no_route")
UNCHANGED = 60.0  # seconds past its due time after which a transfer's message should have been redelivered
PAUSE = 30.0  # seconds between pages
PAGE = 500  # transfers in one page
WAITING = (State.RETRY, State.CLAIMED)


class TransferLedger(Claims, Transfers, Protocol):
    """The parts of the ledger that find and settle transfers."""


async def settle_redriven(ledger: TransferLedger, leased: LeasedMessage, read: MessageContent, now: float) -> None:
    """Set the outcome of a redriven letter's transfer if its message no longer leads to that transfer. Raises LedgerError.

    A message that leads to the same work under another id continues that transfer. One that is released belongs to another
    deployment or region.
    """
    if read.release is not None or any(transfer.id == leased.letter for transfer in read.transfers):
        return
    row = await ledger.get_transfer(leased.letter)
    if row is None or row.state.settled:
        return
    old = row.transfer
    works = [index for index, new in enumerate(read.transfers) if _is_same_work(new, old)]
    if len(works) == 1:
        new = read.transfers[works[0]]
        read.transfers[works[0]] = replace(old, asked=new.asked, identities=new.identities, absent=new.absent)
        return
    same = next((letter for letter in read.letters if letter.id == leased.letter), None)
    replaced = any(letter.reason == UnroutedBucket.kind for letter in read.letters)
    if replaced or any((new.store, new.key) == (old.store, old.key) for new in read.transfers):
        read.forced_outcomes[old.id] = NO_ROUTE
    else:
        error = no_route_error()
        reason, message, hint = (same.reason, same.message, same.hint) if same else (error.kind, "", error.hint)
        message = message or f"route {old.route} no longer copies it to {old.store}: {old.key}"
        failure = Failure(row.attempts + 1, now, reason, message, counts_as_attempt=True)
        body, attributes = leased.body, letter_attributes.keep_for_letter(leased.message.attributes)
        read.forced_outcomes[old.id] = Dead(failure, body, attributes, hint, leased.origin)
    if same is not None:
        read.letters.remove(same)
    read.transfers.append(old)


def _is_same_work(new: Transfer, old: Transfer) -> bool:
    """Return True if both bring the same change of one source object to the same destination key by the same route."""
    a, b = new.source, old.source
    same_source = (a.provider, a.bucket, a.key) == (b.provider, b.bucket, b.key)
    return same_source and (new.route, new.change, new.store, new.key) == (old.route, old.change, old.store, old.key)


@dataclass(frozen=True, slots=True)
class LocalTransfers:
    """The relation of this process to transfers."""

    has_route: Callable[[Transfer], bool]  # its route is configured and takes it
    in_flight: Callable[[str], bool]  # by transfer id
    stores: Collection[str]  # names of reachable stores
    abort_uploads: Callable[[Transfer, OpenUploads], Awaitable[None]]  # raises StoreError


class OrphanSettler:
    """Settles waiting transfers whose route is no longer configured."""

    name = "orphans"

    def __init__(self, context: EngineContext, local: LocalTransfers) -> None:
        self._context, self._local = context, local
        self._state, self._cursor = WAITING[0], ""

    async def run(self, confirm: Confirm = allow) -> None:
        """Settle one page after another until cancelled. `confirm` is called before each."""
        while True:
            await confirm()
            with suppress(LedgerError):  # the next round continues from the same page
                await self.settle_page()
            await self._context.clock.sleep(PAUSE)

    async def settle_page(self) -> int:
        """Settle the orphans of one page and return their number. Raises LedgerError."""
        where = Filter(state=self._state, idle=UNCHANGED)
        page = await self._context.ledger.list_transfers(where, self._cursor, PAGE)
        self._cursor = page.cursor
        if not page.cursor:
            self._state = WAITING[(WAITING.index(self._state) + 1) % len(WAITING)]
        orphans = [row.transfer for row in page.items if self._is_orphan(row.transfer)]
        lease = Lease(find_lease_end(self._context.clock, self._context.ledger.lease), self._context.clock.monotonic)
        answers = await self._context.claim(orphans) if orphans else []
        claims = [answer for answer in answers if isinstance(answer, Claim) and self._is_orphan(answer.transfer)]
        settlements = [await self._settlement(claim, lease) for claim in claims]
        recorded = await self._context.ledger.settle(settlements) if settlements else []
        for claim, done in zip(claims, recorded, strict=True):
            if done:
                self._context.reporter.report_outcome(claim.transfer, claim.attempt, NO_ROUTE)
        return sum(recorded)

    def _is_orphan(self, transfer: Transfer) -> bool:
        return not self._local.has_route(transfer) and not self._local.in_flight(transfer.id)

    async def _settlement(self, claim: Claim, lease: Lease) -> Settlement:
        """Abort the uploads while the lease is held. Keep the lease of the key: this process may use it for another transfer."""
        uploads = OpenUploads()
        uploads.merge(claim.uploads)
        if uploads.known and claim.transfer.store in self._local.stores:
            with suppress(SkyferryError, TimeoutError):  # `skyferry gc` finds the upload
                lease.ensure_held()
                async with asyncio.timeout(lease.left):
                    await self._local.abort_uploads(claim.transfer, uploads)
        return Settlement(claim, NO_ROUTE, last=False, closed=tuple(uploads.closed))
