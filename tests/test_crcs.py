"""Both implementations of CRC32C agree, also where data are continued and combined."""

from __future__ import annotations

import pytest
from awscrt import checksums

from skyferry import crcs


@pytest.mark.parametrize("size", [0, 1, 9, 4096, crcs.SMALL, crcs.SMALL + 1])
def test_small_and_large_data_have_the_same_crc(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    assert crcs.crc32c(data[:size]) == checksums.crc32c(data[:size])
    assert crcs.crc32c(data[:size], 0x1234) == checksums.crc32c(data[:size], 0x1234)


def test_the_check_value_of_the_standard() -> None:
    assert crcs.crc32c(b"123456789") == 0xE3069283


def test_buffers_other_than_bytes_are_accepted() -> None:
    assert crcs.crc32c(memoryview(bytearray(b"123456789"))) == 0xE3069283  # type: ignore[arg-type]  # as in parts


def test_the_crc_of_a_concatenation() -> None:
    first, second = b"one", b"and another"
    assert crcs.combine_crc32c(crcs.crc32c(first), crcs.crc32c(second), len(second)) == crcs.crc32c(first + second)
    wide = crcs.combine_crc64nvme(crcs.crc64nvme(first), crcs.crc64nvme(second), len(second))
    assert wide == crcs.crc64nvme(first + second)
