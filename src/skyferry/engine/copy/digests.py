"""Compute digests of object data, off the event loop if the data are large."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from typing import TypeVar

from skyferry import crcs
from skyferry.model import Checksums
from skyferry.ports import Offload

T = TypeVar("T")
INLINE = 64 * 1024  # bytes; digesting less is faster than waking a thread
UNINTERRUPTED = 16 * 1024  # bytes; hashing so few keeps the interpreter's lock
STEP = 2047  # bytes; hashlib releases the lock for more
HASHES = {"sha256": hashlib.sha256, "md5": hashlib.md5}


class ThreadOffload:
    """Runs functions in the default executor of the event loop."""

    async def run(self, function: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(None, function, *args)


class InlineOffload:
    """Runs functions in the calling thread, for simulations."""

    async def run(self, function: Callable[..., T], *args: object) -> T:
        return function(*args)


def crc32c(data: bytes) -> str:
    """Return the CRC32C (Castagnoli) as 8 hexadecimal digits."""
    return f"{crcs.crc32c(data):08x}"


def hash_bytes(kind: str, data: bytes) -> str:
    """Return the SHA-256 or MD5 in hexadecimal.

    Small data are hashed in steps, for which hashlib keeps the interpreter's lock. Otherwise another thread takes the lock, and
    returns it after far more time than the hash takes.
    """
    if len(data) > UNINTERRUPTED:
        return HASHES[kind](data, usedforsecurity=False).hexdigest()
    digest = HASHES[kind](data[:STEP], usedforsecurity=False)
    for start in range(STEP, len(data), STEP):
        digest.update(data[start : start + STEP])
    return digest.hexdigest()


def digest_bytes(data: bytes, also: frozenset[str] = frozenset()) -> Checksums:
    """Return the CRC32C of a whole object, and the digests that `also` names. Of small data, also the SHA-256."""
    return Checksums(
        crc32c=crc32c(data),
        sha256=hash_bytes("sha256", data) if "sha256" in also or not also or len(data) <= INLINE else "",
        md5=hash_bytes("md5", data) if "md5" in also else "",
        crc64nvme=f"{crcs.crc64nvme(data):016x}" if "crc64nvme" in also else "",
    )


async def compute_digests(data: bytes, offload: Offload, also: frozenset[str] = frozenset()) -> Checksums:
    """Do the same as `digest_bytes` without blocking the event loop."""
    return digest_bytes(data, also) if len(data) <= INLINE else await offload.run(digest_bytes, data, also)


def combine_crc32c(parts: Iterable[tuple[str, int]]) -> str:
    """Return the CRC32C of the concatenation of parts, given the CRC32C and the size of each in order."""
    total = 0
    for crc, size in parts:
        total = crcs.combine_crc32c(total, int(crc, 16), size)
    return f"{total:08x}"


class PartDigests:
    """Digests of an object whose parts arrive in any order. CRCs are combined; other digests take the parts in order."""

    def __init__(self, offload: Offload, kinds: frozenset[str]) -> None:
        """CRC32C is always computed; `kinds` may name sha256, md5 and crc64nvme."""
        self._offload, self._wide = offload, "crc64nvme" in kinds
        self._serial = {name: HASHES[name](usedforsecurity=False) for name in kinds & {"sha256", "md5"}}
        self._turn = 1
        self._turns: dict[int, asyncio.Event] = {}
        self._crcs: dict[int, tuple[int, int, int]] = {}  # part number -> (CRC32C, CRC64NVME, size)

    @property
    def need_all_bytes(self) -> bool:
        """Return True if even the bytes of parts with a known CRC32C are needed."""
        return self._wide or bool(self._serial)

    def add_known(self, number: int, crc: str, size: int) -> None:
        """Add the known CRC32C of an earlier part without its bytes. Not allowed with `need_all_bytes`."""
        self._crcs[number] = (int(crc, 16), 0, size)

    async def add(self, number: int, data: bytes) -> str:
        """Digest part `number` (from 1, each once) and return its CRC32C. Wait for earlier parts if a digest needs the order."""
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
        """Return the digests of the whole object, after all parts have been added."""
        total = wide = 0
        for _, (crc, crc64, size) in sorted(self._crcs.items()):
            total = crcs.combine_crc32c(total, crc, size)
            wide = crcs.combine_crc64nvme(wide, crc64, size) if self._wide else 0
        serial = {name: each.hexdigest() for name, each in self._serial.items()}
        return Checksums(crc32c=f"{total:08x}", crc64nvme=f"{wide:016x}" if self._wide else "", **serial)

    def _crc(self, data: bytes) -> tuple[int, int]:
        return crcs.crc32c(data), crcs.crc64nvme(data) if self._wide else 0

    def _update(self, data: bytes) -> None:
        for each in self._serial.values():
            each.update(data)
