"""Checksums of request bodies. Azure rejects a body whose CRC64 or MD5 differs from the one sent with it.

Azure's CRC64 is CRC64NVME (polynomial 0x9A6C9329AC4BC9B5), in base64, least byte first. The CRC32C that the rest of
Skyferry uses is computed here over the same bytes, so a proof of the CRC64 is a proof of the CRC32C.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable
from dataclasses import replace

from skyferry import crcs
from skyferry.errors import ChecksumMismatch
from skyferry.model import Checksums, Part
from skyferry.stores.s3.metadata import to_base64

INLINE = 64 * 2**10  # bytes; up to this size, hashing is faster than waking a thread
CRC64 = "x-ms-content-crc64"


async def digest(data: bytes, given: Checksums, where: str) -> Checksums:
    """Add the CRCs of the body to `given`. Raise ChecksumMismatch if they differ from those given."""
    found = _crcs(data) if len(data) <= INLINE else await asyncio.to_thread(_crcs, data)
    if name := found.find_conflict(given):
        raise ChecksumMismatch(f"{name} of the bytes to write is not the one declared", where=where)
    return replace(given, crc32c=found.crc32c, crc64nvme=found.crc64nvme)


def demand(known: Checksums) -> dict[str, str]:
    """Return the header by which the service checks the body. It accepts only one."""
    return {"content-md5": to_base64(known.md5)} if known.md5 else {CRC64: crc64(known.crc64nvme)}


def crc64(value: str) -> str:
    """Convert a hexadecimal CRC64NVME to the form that Azure uses."""
    return base64.b64encode(bytes.fromhex(value)[::-1]).decode()


def combine_parts(parts: Iterable[Part]) -> str:
    """Combine the CRC32Cs of parts in this order; "" if one part has none."""
    total = 0
    for part in parts:
        if not part.crc32c:
            return ""
        total = crcs.combine_crc32c(total, int(part.crc32c, 16), part.size)
    return f"{total:08x}"


def _crcs(data: bytes) -> Checksums:
    return Checksums(crc32c=f"{crcs.crc32c(data):08x}", crc64nvme=f"{crcs.crc64nvme(data):016x}")
