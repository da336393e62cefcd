"""Claims on Redis. A batch is one script: one round trip, and one atomic step."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from skyferry.errors import LedgerDamaged
from skyferry.ledgers import codec, rules
from skyferry.ledgers.codec import STATES
from skyferry.ledgers.redis.claims.settlements import KnownPlacements, MergingBatch
from skyferry.ledgers.redis.database import RedisDatabase
from skyferry.ledgers.redis.records import join_texts, name_place, pack_texts, parse_placement, source_of, split_place
from skyferry.model import Claim, Progress, Transfer
from skyferry.ports import Settled, Settlement, Wait

_HEAD = struct.Struct("<16sB").pack  # id, asked
_ANSWER_HEAD = struct.Struct("<BdIIdI")  # as `claim` returns them; a text follows, whose size is the last number
TAKEOVER = 3  # the kind of the answer to a claim that ended the lease of another owner
_ANSWER, _ANSWER_SIZE = _ANSWER_HEAD.unpack_from, _ANSWER_HEAD.size


class RedisClaims:
    """The `Claims` part of a ledger, and the write of `UploadLog` that needs a claim."""

    owner: str
    lease: float
    _db: RedisDatabase
    _me: int  # this owner in leases: random, so that a server that forgets gives it to no other
    _known: KnownPlacements  # of the leased destinations

    async def claim(self, transfers: Sequence[Transfer]) -> list[Claim | Settled | Wait]:
        if not transfers:
            return []
        names = [name_place(t.store, t.key) for t in transfers]
        text = b"".join([_pack_claim(t, name) for t, name in zip(transfers, names, strict=True)])
        found = await self._db.run("claims.claim", self._me, rules.to_ticks(self.lease), len(names), text)
        return self._read_answers(transfers, names, *found)

    def _read_answers(
        self, transfers: Sequence[Transfer], names: Sequence[bytes], text: bytes, uploads: Sequence[Sequence[Any]]
    ) -> list[Claim | Settled | Wait]:
        open_uploads = {number: found for number, *found in uploads}
        answers: list[Claim | Settled | Wait] = []
        end = 0
        for number, (t, name) in enumerate(zip(transfers, names, strict=True), 1):
            kind, first, second, lost, version, size = _ANSWER(text, end)
            start = end + _ANSWER_SIZE
            end = start + size
            packed = text[start:end]
            if kind == 1:
                answers.append(Settled(t.id, STATES[int(first)], packed.decode()))
            elif kind == 2:
                answers.append(Wait(t.id, codec.to_seconds(first), bool(second)))
            else:
                try:
                    placement = parse_placement(name, packed)
                except LedgerDamaged as damage:  # the other transfers go on
                    self._db.report_damage(damage)
                    answers.append(Wait(t.id, self.lease, True))
                    continue
                self._known[name] = int(version), placement
                found = tuple(_unpack_upload(name, *one) for one in open_uploads.get(number, ()))
                chosen = rules.select_placement(placement, t)
                answers.append(Claim(t, int(first), second, lost, chosen, found, kind == TAKEOVER))
        return answers

    async def renew(self, claims: Sequence[Claim]) -> list[Claim]:
        if not claims:
            return []
        arguments: list[object] = [self._me, rules.to_ticks(self.lease)]
        for c in claims:
            arguments += (name_place(c.transfer.store, c.transfer.key), c.fence)
        return [claims[number - 1] for number in await self._db.send("claims.renew", arguments)]

    async def keep(self, claims: Sequence[Claim]) -> None:
        for c in claims:
            self._known.pop(name_place(c.transfer.store, c.transfer.key), None)

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        if not settlements:
            return []
        return await MergingBatch(self._me, settlements, self._known).run(self._db)

    async def save_progress(self, saves: Sequence[tuple[Claim, Progress]]) -> list[bool]:
        if not saves:
            return []
        arguments: list[object] = [self._me]
        for c, p in saves:
            name = name_place(c.transfer.store, c.transfer.key)
            arguments += (name, c.fence, p.upload.id, codec.pack_progress(p), len(p.parts))
            for part in p.parts:
                arguments += (part.number, codec.pack_part(part))
        return [bool(saved) for saved in await self._db.send("uploads.save", arguments)]

    async def _free_all(self) -> None:
        """Free this owner's leases."""
        names = list(self._known)
        for start in range(0, len(names), 1000):
            await self._db.run("claims.free", self._me, *names[start : start + 1000])
        await self._db.run("workers.leave", self.owner)


def _pack_claim(t: Transfer, name: bytes) -> bytes:
    identities = pack_texts(t.identities) if t.identities else b""
    source = source_of(t)
    contents = join_texts((name, source, t.route.encode(), codec.pack_transfer(t).encode()))
    return _HEAD(bytes.fromhex(t.id), t.asked) + join_texts((name, identities, source, contents))


def _unpack_upload(name: bytes, age: int, text: bytes, *parts: bytes) -> Progress:
    return codec.unpack_progress(*split_place(name), age, text.decode(), [part.decode() for part in parts])
