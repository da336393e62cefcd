"""Settlements on Redis.

Placements are merged here, by the rules that all ledgers share, from what the claim returned. The script compares the version of
the placement, and records nothing if another settlement of this owner has changed it: then the batch is built again.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import field
from typing import Any

from skyferry.errors import LedgerError
from skyferry.frozen import dataclass
from skyferry.ledgers import codec, rules
from skyferry.ledgers.codec import NUMBER
from skyferry.ledgers.redis.database import RedisDatabase
from skyferry.ledgers.redis.records import (
    COMPRESSED,
    NONE,
    encode_key,
    join_texts,
    name_place,
    pack_letter,
    pack_size,
    pack_texts,
    parse_placement,
    shrink_text,
    shrink_transfer,
    source_of,
)
from skyferry.model import Placement
from skyferry.ports import Dead, Done, Settlement, Skipped

KnownPlacements = dict[bytes, tuple[int, Placement | None]]  # by destination, with their versions
TRIES = 20
_HEAD = struct.Struct("<16sdBBdBd").pack  # id, fence, last, state, delay, counted failures, version of the placement
NOTHING = (NONE, b"")  # of a placement that stays


@dataclass(slots=True)
class MergingBatch:
    """One batch of settlements."""

    me: int
    settlements: Sequence[Settlement]
    known: KnownPlacements  # of the owner
    names: list[bytes] = field(default_factory=list)

    async def run(self, db: RedisDatabase) -> list[bool]:
        """Record them. Return the answers."""
        claims = [s.claim.transfer for s in self.settlements]
        self.names = [name_place(t.store, t.key) for t in claims]
        compress = db.at.compatible_from >= COMPRESSED
        fixed = [self._pack(s, name, compress=compress) for s, name in zip(self.settlements, self.names, strict=True)]
        counts, view = [True] * len(fixed), {name: self.known.get(name, (0, None)) for name in self.names}
        for _ in range(TRIES):
            moved = dict(view)
            parts: list[bytes] = []
            for number, (numbers, texts) in enumerate(fixed):
                version, placed = self._move(number, moved, compress=compress) if counts[number] else NOTHING
                parts += (_HEAD(*numbers, version), texts[0], pack_size(len(placed)), placed, texts[1])
            conflict, *found = await db.run("claims.settle", self.me, len(fixed), b"".join(parts))
            answers = [bool(answer) for answer in found[: len(fixed)]]
            if not conflict:
                self._remember(moved, answers)
                return answers
            counts = answers
            for name, (version, packed) in zip(self.names, found[len(fixed) :], strict=True):
                view[name] = version, parse_placement(name, packed)
        raise LedgerError("placements changed again and again while they were settled")

    def _pack(self, s: Settlement, name: bytes, *, compress: bool) -> tuple[tuple[Any, ...], tuple[bytes, bytes]]:
        """Return the numbers without the version of the placement, and the texts before and behind the placement."""
        t = s.claim.transfer
        state, reason, delay, failure = rules.apply_outcome(s.outcome)
        id_, dead, receipt, contents = bytes.fromhex(t.id), b"", "", b""
        if isinstance(s.outcome, Done):
            receipt = codec.pack_receipt(s.outcome.receipt)
            if compress:
                both = shrink_transfer(codec.pack_transfer(t), receipt, id_, name)
                receipt, contents = "", join_texts((name, source_of(t), t.route.encode(), both))
        elif isinstance(s.outcome, Dead):
            dead = pack_letter(rules.make_letter(t, s.outcome, ()))
        ticks = NONE if delay is None else max(0, rules.to_ticks(delay))
        burned, failed = (failure.counts_as_attempt, codec.pack_failure(failure)) if failure else (0, "")
        closed = pack_texts(s.closed) if s.closed else b""
        rare = join_texts((failed.encode(), closed, dead)) if failed or closed or dead else b""
        numbers = (id_, s.claim.fence, s.last, NUMBER[state], ticks, burned)
        return numbers, (join_texts((name, reason.encode(), receipt.encode())), join_texts((rare, contents)))

    def _move(self, number: int, moved: KnownPlacements, *, compress: bool) -> tuple[int, bytes]:
        """Return the change of the placement, and apply it to `moved`."""
        s, name = self.settlements[number], self.names[number]
        if not isinstance(s.outcome, Done | Skipped) or (isinstance(s.outcome, Skipped) and not s.outcome.positions):
            return NOTHING
        version, old = moved[name]
        placement = rules.move_placement(s.outcome, old, s.claim.transfer)
        if placement is None:
            return version, b""  # only compared
        moved[name] = version + 1, placement
        bucket = b"" if placement.deleted else encode_key(placement.source.bucket)
        text = codec.pack_placement(placement)
        packed = shrink_text(text, name) if compress else text.encode()
        return version, join_texts((encode_key(placement.identity), bucket, packed))

    def _remember(self, moved: KnownPlacements, answers: Sequence[bool]) -> None:
        for s, name, recorded in zip(self.settlements, self.names, answers, strict=True):
            if s.last:
                self.known.pop(name, None)
            elif recorded:
                self.known[name] = moved[name]
