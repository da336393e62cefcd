"""Digests of the bytes that pass, off the event loop where that pays."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import TypeVar

from awscrt import checksums as crt

from skyferry.model import Checksums
from skyferry.ports import Offload

T = TypeVar("T")
INLINE = 64 * 1024  # bytes; a smaller buffer is digested faster than a thread is woken


class ThreadOffload:
    """Runs functions in the event loop's default threads."""

    async def run(self, function: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(None, function, *args)


class InlineOffload:
    """Runs functions where they are called: for simulations."""

    async def run(self, function: Callable[..., T], *args: object) -> T:
        return function(*args)


def crc32c(data: bytes) -> str:
    """CRC32C (Castagnoli), 8 hexadecimal digits."""
    return f"{crt.crc32c(data):08x}"


def whole(data: bytes) -> Checksums:
    """CRC32C and SHA-256 of a whole object."""
    return Checksums(crc32c=crc32c(data), sha256=hashlib.sha256(data).hexdigest())


async def digest(data: bytes, offload: Offload) -> Checksums:
    """`whole`, without holding up the event loop."""
    return whole(data) if len(data) <= INLINE else await offload.run(whole, data)


class PartDigests:
    """Digests of an object read in parts that may arrive in any order: CRCs are combined, SHA-256 waits for its turn."""

    def __init__(self, offload: Offload) -> None:
        self._offload = offload
        self._sha = hashlib.sha256()
        self._turn = 1
        self._turns: dict[int, asyncio.Event] = {}
        self._crcs: dict[int, tuple[int, int]] = {}  # part number -> (crc, size)

    async def add(self, number: int, data: bytes) -> str:
        """Digest part `number` (from 1, each once); its CRC32C. Waits until the parts before it have been added."""
        crc = await self._offload.run(crt.crc32c, data)
        self._crcs[number] = (crc, len(data))
        if number != self._turn:
            await self._turns.setdefault(number, asyncio.Event()).wait()
        await self._offload.run(self._sha.update, data)
        self._turn = number + 1
        self._turns.setdefault(self._turn, asyncio.Event()).set()
        self._turns.pop(number, None)
        return f"{crc:08x}"

    def result(self) -> Checksums:
        """Of the whole object, once all parts have been added."""
        total = 0
        for _, (crc, size) in sorted(self._crcs.items()):
            total = crt.combine_crc32c(total, crc, size)
        return Checksums(crc32c=f"{total:08x}", sha256=self._sha.hexdigest())
