"""What proves a body that goes to Azure: the service refuses one whose CRC64 or MD5 is not the one said with it.

Azure's CRC64 is the CRC64NVME of others (polynomial 0x9A6C9329AC4BC9B5), in base64 with the least byte first. The CRC32C
that the rest of Skyferry speaks is computed here over the very bytes that go out, so what proves the one proves the other.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable
from dataclasses import replace

from awscrt import checksums as crt

from skyferry.errors import ChecksumMismatch
from skyferry.model import Checksums, Part
from skyferry.stores.s3.metadata import to_base64

INLINE = 64 * 2**10  # bytes; a smaller body is digested faster than a thread is woken
CRC64 = "x-ms-content-crc64"


async def digest(data: bytes, given: Checksums, where: str) -> Checksums:
    """`given`, with the CRCs of the body. Raises ChecksumMismatch where they are not those given."""
    found = _crcs(data) if len(data) <= INLINE else await asyncio.to_thread(_crcs, data)
    if name := found.find_conflict(given):
        raise ChecksumMismatch(f"{name} of the bytes to write is not the one declared", where=where)
    return replace(given, crc32c=found.crc32c, crc64nvme=found.crc64nvme)


def demand(known: Checksums) -> dict[str, str]:
    """The header that makes the service check the body; it takes one of them only."""
    return {"content-md5": to_base64(known.md5)} if known.md5 else {CRC64: crc64(known.crc64nvme)}


def crc64(value: str) -> str:
    """As Azure writes it."""
    return base64.b64encode(bytes.fromhex(value)[::-1]).decode()


def combine_parts(parts: Iterable[Part]) -> str:
    """The CRC32C of what these proven parts make up in this order; "" where one is not proven."""
    total = 0
    for part in parts:
        if not part.crc32c:
            return ""
        total = crt.combine_crc32c(total, int(part.crc32c, 16), part.size)
    return f"{total:08x}"


def _crcs(data: bytes) -> Checksums:
    return Checksums(crc32c=f"{crt.crc32c(data):08x}", crc64nvme=f"{crt.crc64nvme(data):016x}")
