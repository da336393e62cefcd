"""A ledger in memory, for tests, simulations and trials. It keeps every promise but durability, for as long as its state lives."""

from __future__ import annotations

from collections.abc import Sequence

from skyferry.errors import LedgerError
from skyferry.ledgers import rules
from skyferry.ledgers.memory.dead_letters import MemoryDeadLetters
from skyferry.ledgers.memory.held_deletes import MemoryHeldDeletes
from skyferry.ledgers.memory.limits import MemoryLimits
from skyferry.ledgers.memory.queries import MemoryQueries
from skyferry.ledgers.memory.refusals import MemoryRefusals
from skyferry.ledgers.memory.state import Key, MemoryLease, MemoryState, MemoryTransfer, key_of
from skyferry.ledgers.memory.uploads import MemoryUploads, of_destination
from skyferry.ledgers.memory.workers import MemoryWorkers
from skyferry.model import Claim, State, Transfer
from skyferry.ports import Clock, Dead, Done, Settled, Settlement, Skipped, Wait

PRUNED = (State.DONE, State.SKIPPED, State.DISCARDED)


class MemoryLedger(
    MemoryQueries, MemoryUploads, MemoryDeadLetters, MemoryRefusals, MemoryHeldDeletes, MemoryWorkers, MemoryLimits
):
    """A `Ledger` on a `MemoryState`. Deterministic: no threads, no randomness, time only from `clock`."""

    def __init__(self, owner: str, clock: Clock, lease: float = 30.0, state: MemoryState | None = None) -> None:
        """`lease` is in seconds; without `state` the ledger is not shared."""
        self.owner = owner
        self.lease = lease
        self._clock = clock
        self._state = MemoryState() if state is None else state
        self._me = self._state.register(owner)
        self._kept, self._closed = set[Key](), False

    async def claim(self, transfers: Sequence[Transfer]) -> list[Claim | Settled | Wait]:
        await self._step()
        now = self._clock.time()
        return [self._claim(transfer, now) for transfer in transfers]

    async def renew(self, claims: Sequence[Claim]) -> list[Claim]:
        await self._step()
        until = self._clock.time() + self.lease
        lost = []
        for claim in claims:
            if lease := self._state.find_lease(claim):
                lease.until = max(lease.until, until)
            else:
                lost.append(claim)
        return lost

    async def keep(self, claims: Sequence[Claim]) -> None:
        self._kept.update(map(key_of, claims))

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        await self._step()
        now = self._clock.time()
        answers = [self._settle(settlement, now) for settlement in settlements]
        for settlement in settlements:
            if settlement.last and self._state.find_lease(settlement.claim):
                del self._state.leases[key_of(settlement.claim)]
        return answers

    async def check_writable(self) -> None:
        await self._step()

    async def prune(self, older_than: float, limit: int = 1000) -> int:
        await self._step()
        before = self._clock.time() - older_than
        rows = [row for row in self._state.rows.values() if row.state in PRUNED and row.updated_at < before]
        for row in sorted(rows, key=lambda row: (row.updated_at, row.serial))[:limit]:
            del self._state.rows[row.transfer.id]
        return len(rows[:limit]) or self._prune_refusals(before, limit)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._state.unregister(self._me, self._kept)

    async def _step(self) -> None:
        """Let other tasks run, as a real ledger would. A call cancelled here has had no effect."""
        if self._closed:
            raise LedgerError("it is closed", where="memory")
        await self._clock.sleep(0)

    def _claim(self, transfer: Transfer, now: float) -> Claim | Settled | Wait:
        state, key = self._state, (transfer.store, transfer.key)
        row, lease = state.rows.get(transfer.id), state.leases.get(key)
        leased_for = lease.until - now if lease and lease.owner != self._me else 0.0
        due_in = None if row is None or row.due_at is None else row.due_at - now
        known = (row.state, row.reason) if row else (State.CLAIMED, "")
        if refusal := rules.refuse_claim(transfer, *known, due_in, leased_for, state.placements.get(key)):
            return refusal
        taken_over = lease is not None and lease.owner != self._me
        if lease is None or taken_over:
            state.fences += 1
            lease = state.leases[key] = MemoryLease(self._me, state.fences, 0.0)
        lease.until = max(lease.until, now + self.lease)
        if row is None:
            row = state.rows[transfer.id] = MemoryTransfer(state.next_serial(), transfer, self._me, now, now)
        elif row.state is not State.CLAIMED or row.owner != self._me:
            row.lost += row.state is State.CLAIMED
            row.owner, row.state, row.reason, row.due_at, row.updated_at = self._me, State.CLAIMED, "", None, now
        placement = rules.select_placement(state.placements.get(key), transfer)
        uploads = of_destination(state.uploads, key, now)
        return Claim(transfer, lease.fence, row.burned + 1, row.lost, placement, uploads, taken_over)

    def _settle(self, settlement: Settlement, now: float) -> bool:
        claim, outcome = settlement.claim, settlement.outcome
        row = self._state.rows.get(claim.transfer.id)
        if row is None or row.state is not State.CLAIMED or not self._state.find_lease(claim):
            return False
        row.state, row.reason, delay, failure = rules.apply_outcome(outcome)
        row.due_at, row.updated_at = None if delay is None else now + delay, now
        if failure:
            row.failures += (failure,)
            row.burned += failure.counts_as_attempt
        for name in settlement.closed:
            self._state.uploads.pop((key_of(claim), name), None)
        self._move_placement(claim, outcome)
        if isinstance(outcome, Done):
            row.receipt = outcome.receipt
        elif isinstance(outcome, Dead):
            self._state.add_letter(rules.make_letter(claim.transfer, outcome, row.failures))
        return True

    def _move_placement(self, claim: Claim, outcome: object) -> None:
        key = key_of(claim)
        old = self._state.placements.get(key)
        if isinstance(outcome, Done):
            self._state.placements[key] = rules.merge_placements(outcome.placement, old)
        elif (
            isinstance(outcome, Skipped)
            and (old := rules.select_placement(old, claim.transfer))
            and old.is_from(claim.transfer.source)
        ):
            self._state.placements[key] = old.with_positions(outcome.positions)
