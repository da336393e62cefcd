"""Workers and roles in Redis. A heartbeat is one script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from skyferry.ledgers import codec, rules
from skyferry.ledgers.redis.database import VERSION, RedisDatabase
from skyferry.ledgers.redis.records import decode_key, encode_key
from skyferry.ports import Heartbeat, HeldRole, Page, WorkerEntry, WorkerState


class RedisWorkers:
    """The `Workers` part of a ledger."""

    owner: str
    lease: float
    _db: RedisDatabase

    async def heartbeat(self, last: Heartbeat, wanted: Sequence[str]) -> list[str]:
        values = (encode_key(self.owner), rules.to_ticks(self.lease), VERSION, last.state, codec.pack_heartbeat(last))
        found = await self._db.run("workers.heartbeat", *values, *map(encode_key, wanted))
        return sorted(map(decode_key, found))

    async def list_workers(self, cursor: str = "", limit: int = 100) -> Page[WorkerEntry]:
        present, held = await self._db.run("workers.list")
        roles: dict[bytes, list[HeldRole]] = {}
        for name, age, holder in held:
            roles.setdefault(holder, []).append(HeldRole(decode_key(name), codec.to_seconds(age)))
        by_name: dict[str, Any] = {decode_key(row[0]): row for row in present}
        left = sorted(name for name in by_name if name > cursor)
        page = []
        for name in left[:limit]:
            packed, silence, _, text = by_name[name]
            last = codec.unpack_heartbeat(text.decode())
            own = sorted(roles.get(packed, ()), key=attrgetter("name"))
            page.append(WorkerEntry(name, last, codec.to_seconds(silence), tuple(own)))
        return Page(page, left[limit - 1] if len(left) > limit else "")

    async def count_workers(self) -> dict[WorkerState, int]:
        present, _ = await self._db.run("workers.list")
        counts = Counter(codec.unpack_heartbeat(text.decode()).state for _, _, _, text in present)
        return {state: counts[state] for state in WorkerState}
