"""The records that a batch of claims or settlements locks and reads."""

from __future__ import annotations

from collections.abc import Sequence

from skyferry.frozen import dataclass
from skyferry.ledgers import codec
from skyferry.ledgers.codec import NUMBER
from skyferry.ledgers.postgres.conditions import decode_key, encode_key
from skyferry.ledgers.postgres.database import LedgerSession
from skyferry.model import Placement, State, Transfer
from skyferry.sql import load_statements

SQL = load_statements("skyferry.ledgers.postgres", "claims.sql")
CLAIMED = NUMBER[State.CLAIMED]
Destination = tuple[str, str]  # store and key


@dataclass(slots=True)
class LockedTransfer:
    """A known transfer."""

    state: int = CLAIMED
    reason: str = ""
    due_in: int | None = None  # ticks
    burned: int = 0
    lost: int = 0
    owner: int = 0


@dataclass(slots=True)
class LockedPlace:
    """A destination with its lease, locked until the transaction ends."""

    id: int = 0  # 0 = the destination is not known yet
    owner: int = 0  # 0 = not leased
    fence: int = 0
    left: int = 0  # ticks of the lease
    placement: Placement | None = None


@dataclass(slots=True)
class LockedRecords:
    """The records of a batch."""

    transfers: dict[str, LockedTransfer]  # by id
    places: dict[Destination, LockedPlace]


async def lock_places(db: LedgerSession, transfers: Sequence[Transfer]) -> dict[Destination, LockedPlace]:
    """Lock the destinations of these transfers that are known."""
    wanted = dict.fromkeys((t.store, t.key) for t in transfers)
    columns = [encode_key(key) for _, key in wanted], [store for store, _ in wanted]
    found = {}
    for packed_key, store, id_, owner, fence, left, packed in await db.fetch(SQL["lock"], *columns):
        key = decode_key(packed_key)
        placement = codec.unpack_placement(store, key, packed) if packed else None
        found[store, key] = LockedPlace(id_, owner, fence, left if owner else 0, placement)
    return found


async def read_transfers(
    db: LedgerSession, transfers: Sequence[Transfer], places: dict[Destination, LockedPlace]
) -> dict[str, LockedTransfer]:
    """Lock and read the known ones of these transfers. `places` are their known destinations: at others, none is known."""
    wanted = {t.id: at.id for t in transfers if (at := places.get((t.store, t.key)))}
    if not wanted:
        return {}
    ids = sorted(wanted)
    rows = await db.fetch(SQL["look"], [wanted[id_] for id_ in ids], list(map(bytes.fromhex, ids)))
    return {id_.hex(): LockedTransfer(*columns) for id_, *columns in rows}
