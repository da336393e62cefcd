"""The release that knew version 1 of the ledger in Redis: its scripts, and what it sent to them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from tests.ledgers.redis.places import RedisHarness

from skyferry.ledgers import codec
from skyferry.ledgers.redis.claims.claims import _pack_claim
from skyferry.ledgers.redis.database import RedisDatabase, load_scripts
from skyferry.ledgers.redis.records import NONE, join_texts, name_place
from skyferry.model import Placement, Receipt, Transfer
from skyferry.ports import Done

SCRIPTS = load_scripts(folder=Path(__file__).parent / "version_1")
LEASE = 30 * 2**22  # ticks
HEAD = struct.Struct("<16sdBBdBd")
ANSWER = struct.Struct("<BdIIdI")


class OldProgram:
    """A worker of that release."""

    def __init__(self, harness: RedisHarness, owner: int) -> None:
        self._db = RedisDatabase(harness.client(), lambda error: None, SCRIPTS)
        self._me = owner

    async def enter(self) -> None:
        """Check the version as that release did, and send a heartbeat."""
        version, compatible_from = await self._db.run("housekeeping.open", 1)
        assert int(compatible_from) <= 1, (version, compatible_from)
        await self._db.run("workers.heartbeat", f"old-{self._me}", LEASE, "running", "[]")

    async def claim(self, t: Transfer) -> tuple[int, float, str]:
        """Return the kind of the answer, its first number, and its text: the placement, or a reason."""
        text = _pack_claim(t, name_place(t.store, t.key))
        answer, _ = await self._db.run("claims.claim", self._me, LEASE, 1, text)
        kind, first, *_, size = ANSWER.unpack_from(answer)
        return kind, first, answer[ANSWER.size : ANSWER.size + size].decode()

    async def settle(self, t: Transfer, fence: float, outcome: Done, version: int = 0) -> None:
        """Settle a claimed transfer as done. `version` is that of the placement."""
        p = outcome.placement
        placed = join_texts((p.identity.encode(), p.source.bucket.encode(), codec.pack_placement(p).encode()))
        texts = (name_place(t.store, t.key), b"", codec.pack_receipt(outcome.receipt).encode(), placed, b"")
        head = HEAD.pack(bytes.fromhex(t.id), fence, 1, 2, NONE, 0, version)
        assert await self._db.run("claims.settle", self._me, 1, head + join_texts(texts)) == [0, 1]

    async def read(self, t: Transfer) -> tuple[Transfer, Receipt]:
        """Return a done transfer and its receipt."""
        state, *_, text, receipt, _ = await self._db.run("queries.get", bytes.fromhex(t.id))
        assert codec.STATES[state] == "done"
        return codec.unpack_transfer(text.decode()), codec.unpack_receipt(receipt.decode())

    async def get_placement(self, t: Transfer) -> Placement:
        """Return the placement of a key."""
        [text] = await self._db.run("queries.placements", name_place(t.store, t.key))
        return codec.unpack_placement(t.store, t.key, text.decode())

    async def list_workers(self) -> list[Any]:
        """Return the names of the workers."""
        present, _ = await self._db.run("workers.list")
        return [name.decode() for name, *_ in present]

    async def leave(self) -> None:
        await self._db.run("workers.leave", f"old-{self._me}")
        await self._db.close()
