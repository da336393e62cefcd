"""The bytes of an object, in pieces that objects may share, with their digests."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence

from skyferry.crcs import combine_crc32c, crc32c
from skyferry.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Body:
    """Composing and copying moves no bytes."""

    pieces: tuple[bytes, ...]
    size: int
    crc: int
    md5: str  # base64; "" of a composed object

    @property
    def crc32c(self) -> str:
        """As the API writes it."""
        return base64.b64encode(self.crc.to_bytes(4, "big")).decode()

    def part(self, start: int, end: int) -> Iterator[memoryview]:
        """The bytes [start, end)."""
        at = 0
        for piece in self.pieces:
            if at < end and at + len(piece) > start:
                yield memoryview(piece)[max(start - at, 0) : end - at]
            at += len(piece)


def make_body(pieces: Sequence[bytes]) -> Body:
    """New bytes."""
    crc, md5 = 0, hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        crc = crc32c(piece, crc)
        md5.update(piece)
    return Body(tuple(pieces), sum(map(len, pieces)), crc, base64.b64encode(md5.digest()).decode())


def join_bodies(parts: Sequence[Body]) -> Body:
    """One after the other."""
    crc = 0
    for part in parts:
        crc = combine_crc32c(crc, part.crc, part.size)
    return Body(tuple(piece for part in parts for piece in part.pieces), sum(part.size for part in parts), crc, "")
