"""Cyclic redundancy checks: CRC32C (Castagnoli) and CRC64NVME, and those of concatenations."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

SMALL = 64 * 1024  # bytes; awscrt is faster for more, but takes 45 ms of CPU to import


def crc32c(data: bytes, crc: int = 0) -> int:
    """Return the CRC32C of data that follow data with the CRC32C `crc`."""
    if type(data) is bytes and len(data) <= SMALL:
        return _import_extend()(crc, data)
    from awscrt import checksums

    return int(checksums.crc32c(data, crc))


@cache
def _import_extend() -> Callable[[int, bytes], int]:
    """Import it once: the statement takes three times as long as the CRC of 4 KiB."""
    from google_crc32c import extend

    typed: Callable[[int, bytes], int] = extend  # it has no types
    return typed


def combine_crc32c(first: int, second: int, size: int) -> int:
    """Return the CRC32C of a concatenation from both CRC32Cs; `size` is that of the second part."""
    from awscrt import checksums

    return int(checksums.combine_crc32c(first, second, size))


def crc64nvme(data: bytes) -> int:
    """Return the CRC64NVME."""
    from awscrt import checksums

    return int(checksums.crc64nvme(data))


def combine_crc64nvme(first: int, second: int, size: int) -> int:
    """Return the CRC64NVME of a concatenation from both CRC64NVMEs; `size` is that of the second part."""
    from awscrt import checksums

    return int(checksums.combine_crc64nvme(first, second, size))
