"""The ledger of a simulated world, on any engine. It outlives the workers."""

from __future__ import annotations

from copy import copy
from dataclasses import field
from typing import Any, Protocol, runtime_checkable

from skyferry.frozen import dataclass
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.ledgers.memory.state import MemoryState
from skyferry.ports import Clock, Ledger

LOSS = 1.0  # seconds
# Fences, serials and the numbers of owners never come twice; see the decision on the ledger in Redis
RECORDS = (
    "rows",
    "placements",
    "leases",
    "letters",
    "uploads",
    "refusals",
    "held_deletes",
    "identities",
    "workers",
    "roles",
)


@dataclass(slots=True)
class Forgotten:
    """The records that the ledger has lost, though it had confirmed them. The rules demand less of them."""

    transfers: set[str] = field(default_factory=set)  # settled, by id
    letters: set[str] = field(default_factory=set)  # by id; if moved back, they look like those of another ledger
    bodies: set[bytes] = field(default_factory=set)  # of dead letters
    claims: set[tuple[str, str, int]] = field(default_factory=set)  # store, key, fence


class LedgerEngine(Protocol):
    """The ledger of one world. Its time MUST be that of the clock of the world, and no call may take any of it."""

    def open(self, owner: str) -> Ledger:
        """Return the ledger of a process. It is not closed: a process that crashes closes nothing."""


@runtime_checkable
class ForgetfulEngine(LedgerEngine, Protocol):
    """A ledger that may lose what it has confirmed."""

    async def lose_second(self, forgotten: Forgotten) -> None:
        """Let a second pass, then lose what was recorded meanwhile, as a server that writes to its disk once a second does."""


class MemoryEngine:
    """A ledger in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._state = clock, MemoryState()

    def open(self, owner: str) -> Ledger:
        return MemoryLedger(owner, self._clock, state=self._state)

    async def lose_second(self, forgotten: Forgotten) -> None:
        state = self._state
        before: dict[str, dict[Any, Any]] = {
            name: {key: copy(record) for key, record in getattr(state, name).items()} for name in RECORDS
        }
        await self._clock.sleep(LOSS)
        for id_, row in state.rows.items():
            known = before["rows"].get(id_)
            if row.state.settled and (known is None or (known.state, known.updated_at) != (row.state, row.updated_at)):
                forgotten.transfers.add(id_)
        known_deaths = {kept.letter.ref for kept in before["letters"].values()}
        for kept in state.letters.values():
            if kept.letter.ref not in known_deaths:
                forgotten.letters.add(kept.letter.id)
                forgotten.bodies.add(kept.letter.body)
        leased = {key: (lease.owner, lease.fence) for key, lease in before["leases"].items()}
        for key, lease in state.leases.items():
            if leased.get(key) != (lease.owner, lease.fence):
                forgotten.claims.add((*key, lease.fence))
        for name, records in before.items():
            setattr(state, name, records)
