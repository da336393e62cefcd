"""Transfers as people and metrics see them."""

from __future__ import annotations

from typing import Protocol

from skyferry.frozen import dataclass
from skyferry.model import Failure, Receipt, State, Transfer
from skyferry.ports.ledger.listing import Filter, Page


@dataclass(frozen=True, slots=True)
class TransferRow:
    """One transfer with its state."""

    transfer: Transfer
    state: State
    reason: str
    attempts: int
    lost: int  # leases that ended without a settlement
    created_at: float  # by the ledger's clock
    updated_at: float  # ditto
    due_at: float | None  # ditto
    receipt: Receipt | None
    failures: tuple[Failure, ...] = ()  # only from `get_transfer`


class Transfers(Protocol):
    """Queries of transfers. Each MUST stay fast in a large ledger, and none may delay claims."""

    async def get_transfer(self, transfer_id: str) -> TransferRow | None:
        """Return one transfer with its failures; None if it is unknown."""

    async def find_ids(self, prefix: str, limit: int) -> list[str]:
        """Return ids of transfers that begin with these hexadecimal digits, at most `limit`; [] for anything else."""

    async def list_transfers(self, where: Filter, cursor: str = "", limit: int = 100) -> Page[TransferRow]:
        """Return a page of transfers, the last updated first. Raises NotFound for a malformed cursor."""

    async def count_transfers(self) -> dict[State, int]:
        """Return the number of transfers by state. The cost MUST NOT grow with the ledger."""

    async def find_oldest_unsettled(self) -> dict[str, float]:
        """Return by route the time of the event whose unsettled transfer has been known the longest; {} = all are settled.

        The cost grows with the number of unsettled transfers.
        """
