"""Health, pruning, refusals, held deletes and identities of sources on Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace
from typing import Any

import orjson

from skyferry.ledgers import codec, rules
from skyferry.ledgers.filters import matches_held
from skyferry.ledgers.redis.database import RedisDatabase
from skyferry.ledgers.redis.records import NONE, decode_key, encode_key, pack_text
from skyferry.model import ObjectRef, Provider
from skyferry.ports import Page, Refusal
from skyferry.ports.ledger.held_deletes import Decision, HeldDelete, HeldFilter

STATES: tuple[Decision, ...] = ("held", "approved", "rejected")
STEP = 1000  # records of one script
FIRST = 2**62  # above every serial


class RedisHousekeeping:
    """The `Housekeeping` and `RefusalLog` parts of a ledger."""

    _db: RedisDatabase

    async def check_writable(self) -> None:
        await self._db.ensure_ledger()  # a write that changes nothing, except in a server that has lost everything

    async def prune(self, older_than: float, limit: int = 1000) -> int:
        return int(await self._db.run("housekeeping.prune", rules.to_ticks(older_than), limit))

    async def add_refusals(self, refusals: Sequence[Refusal]) -> None:
        if refusals:
            rows = ((_name(r), rules.to_ticks(r.at), codec.pack_refusal(r)) for r in refusals)
            await self._db.send("housekeeping.add_refusals", [part for row in rows for part in row])

    async def list_refusals(self, key: str) -> list[Refusal]:
        found = await self._db.run("housekeeping.list_refusals", pack_text(key))
        return sorted((codec.unpack_refusal(text.decode()) for text in found), key=lambda r: -r.at)


class RedisHeldDeletes:
    """The `HeldDeletes` and `SourceIdentities` parts of a ledger."""

    _db: RedisDatabase

    async def get_identity(self, source: str) -> str:
        return (await self._db.run("housekeeping.get_identity", encode_key(source)) or b"").decode()

    async def set_identity(self, source: str, identity: str) -> None:
        await self._db.run("housekeeping.set_identity", encode_key(source), encode_key(identity))

    async def hold_deletes(self, deletes: Sequence[HeldDelete]) -> int:
        rows = [(held.id, encode_key(held.store), held.reason, _pack_held(held)) for held in deletes]
        return int(await self._db.send("housekeeping.hold", [p for row in rows for p in row])) if rows else 0

    async def list_held_deletes(self, where: HeldFilter, cursor: str = "", limit: int = 100) -> Page[HeldDelete]:
        page: list[tuple[int, HeldDelete]] = []
        async for serial, held in self._find_held(where, int(cursor) if cursor.isdecimal() else FIRST):
            if len(page) == limit:
                return Page([held for _, held in page], str(page[-1][0]))
            page.append((serial, held))
        return Page([held for _, held in page], "")

    async def count_held_deletes(self) -> list[tuple[str, str, int]]:
        found, groups = await self._db.run("housekeeping.count_held"), []
        for name, count in zip(found[::2], found[1::2], strict=True):
            end = 4 + int.from_bytes(name[:4], "big")
            groups.append((decode_key(name[4:end]), name[end:].decode(), int(count)))
        return sorted(groups)

    async def find_held_deletes(self, ids: Sequence[str]) -> set[str]:
        found = await self._db.send("housekeeping.find_held", ids)
        return {name for name, known in zip(ids, found, strict=True) if known}

    async def approve_deletes(self, where: HeldFilter, ids: Collection[str] | None = None) -> int:
        return await self._decide("approved", where, ids)

    async def reject_deletes(self, where: HeldFilter, ids: Collection[str] | None = None) -> int:
        return await self._decide("rejected", where, ids)

    async def list_approved_deletes(self, limit: int) -> list[HeldDelete]:
        rows = await self._db.run("housekeeping.list_held", "oldest", 0, limit, "approved")
        return [_unpack_held(row)[1] for row in rows]

    async def forget_deletes(self, ids: Sequence[str]) -> int:
        return int(await self._db.send("housekeeping.forget_held", ids)) if ids else 0

    async def _decide(self, state: Decision, where: HeldFilter, ids: Collection[str] | None) -> int:
        before, count = rules.DECIDED_FROM[state], 0
        found = [held async for _, held in self._find_held(where, FIRST) if ids is None or held.id in ids]
        for start in range(0, len(found), STEP):
            pairs = ((_identity(held), held.id) for held in found[start : start + STEP])
            count += await self._db.run(
                "housekeeping.decide", state, " ".join(before), *(p for two in pairs for p in two)
            )
        return count

    async def _find_held(self, where: HeldFilter, before: int) -> AsyncIterator[tuple[int, HeldDelete]]:
        """Iterate over matching deletes with their serials, the latest first."""
        states = STATES if where.state is None else (where.state,)
        rows = [()]
        while rows:
            rows = await self._db.run("housekeeping.list_held", "newest", before, STEP, *states)
            for row in rows:
                before, held = _unpack_held(row)
                if matches_held(held, where):
                    yield before, held


def _name(refusal: Refusal) -> bytes:
    source = refusal.source
    return pack_text(source.key) + encode_key(f"{source.provider}://{source.bucket}")


def _identity(held: HeldDelete) -> bytes:
    """Return the source whose identity a decision forgets, or nothing."""
    replaced = held.reason == "replaced"
    return encode_key(f"{held.source.provider}://{held.source.bucket}") if replaced else b""


def _pack_held(held: HeldDelete) -> str:
    s = held.source
    return codec.pack_json((s.provider, s.bucket, s.key, held.store, held.routes, held.reason, held.at))


def _unpack_held(row: Sequence[Any]) -> tuple[int, HeldDelete]:
    state, _, serial, decided, text = row
    provider, bucket, key, store, routes, reason, at, *_ = orjson.loads(text)
    held = HeldDelete(ObjectRef(Provider(provider), bucket, key), store, tuple(routes), reason, at)
    decided_at = None if int(decided) == NONE else codec.to_seconds(int(decided))
    return int(serial), replace(held, state=state.decode(), decided_at=decided_at)
