"""Digests of the bytes that pass, off the event loop where that pays."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable
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


def whole(data: bytes, also: frozenset[str] = frozenset()) -> Checksums:
    """CRC32C and SHA-256 of a whole object, and `also` these."""
    return Checksums(
        crc32c=crc32c(data),
        sha256=hashlib.sha256(data).hexdigest(),
        md5=hashlib.md5(data, usedforsecurity=False).hexdigest() if "md5" in also else "",
        crc64nvme=f"{crt.crc64nvme(data):016x}" if "crc64nvme" in also else "",
    )


async def digest(data: bytes, offload: Offload, also: frozenset[str] = frozenset()) -> Checksums:
    """`whole`, without holding up the event loop."""
    return whole(data, also) if len(data) <= INLINE else await offload.run(whole, data, also)


def combined(parts: Iterable[tuple[str, int]]) -> str:
    """The CRC32C of what these parts make together: CRC32C and size of each, in order."""
    total = 0
    for crc, size in parts:
        total = crt.combine_crc32c(total, int(crc, 16), size)
    return f"{total:08x}"


class PartDigests:
    """Digests of an object in parts that may arrive in any order: CRCs are combined, the others wait for their turn."""

    def __init__(self, offload: Offload, kinds: frozenset[str]) -> None:
        """CRC32C always; `kinds` may name sha256, md5 and crc64nvme."""
        self._offload, self._wide = offload, "crc64nvme" in kinds
        self._serial = {name: hashlib.new(name, usedforsecurity=False) for name in kinds & {"sha256", "md5"}}
        self._turn = 1
        self._turns: dict[int, asyncio.Event] = {}
        self._crcs: dict[int, tuple[int, int, int]] = {}  # part number -> (CRC32C, CRC64NVME, size)

    @property
    def whole(self) -> bool:
        """Whether every byte has to pass, those of parts with a known CRC32C too."""
        return self._wide or bool(self._serial)

    def know(self, number: int, crc: str, size: int) -> None:
        """Take the CRC32C of a part from before, whose bytes do not pass. Not where they have to."""
        self._crcs[number] = (int(crc, 16), 0, size)

    async def add(self, number: int, data: bytes) -> str:
        """Digest part `number` (from 1, each once); its CRC32C. Waits for the parts before it where order matters."""
        crc, wide = await self._offload.run(self._crc, data)
        self._crcs[number] = (crc, wide, len(data))
        if self._serial:
            if number != self._turn:
                await self._turns.setdefault(number, asyncio.Event()).wait()
            await self._offload.run(self._update, data)
            self._turn = number + 1
            self._turns.setdefault(self._turn, asyncio.Event()).set()
            self._turns.pop(number, None)
        return f"{crc:08x}"

    def result(self) -> Checksums:
        """Of the whole object, once all parts have been added."""
        total = wide = 0
        for _, (crc, crc64, size) in sorted(self._crcs.items()):
            total = crt.combine_crc32c(total, crc, size)
            wide = crt.combine_crc64nvme(wide, crc64, size) if self._wide else 0
        serial = {name: each.hexdigest() for name, each in self._serial.items()}
        return Checksums(crc32c=f"{total:08x}", crc64nvme=f"{wide:016x}" if self._wide else "", **serial)

    def _crc(self, data: bytes) -> tuple[int, int]:
        return crt.crc32c(data), crt.crc64nvme(data) if self._wide else 0

    def _update(self, data: bytes) -> None:
        for each in self._serial.values():
            each.update(data)
