"""A write is read back into memory of its thread, which is used again."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from skyferry import crcs
from skyferry.stores.local.blocking.files import CHUNK, crc_of

CONTENT = random.Random(3).randbytes(3 * CHUNK + 5)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    """A file with the content."""
    (tmp_path / "k").write_bytes(CONTENT)
    opened = os.open(tmp_path / "k", os.O_RDONLY)
    yield opened
    os.close(opened)


@pytest.mark.parametrize("start", [0, 1, CHUNK])
@pytest.mark.parametrize("length", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 5])
def test_every_byte_of_the_range_counts_and_no_other(file: int, start: int, length: int) -> None:
    crc_of(file, 0, len(CONTENT))  # leaves other bytes in the memory
    assert crc_of(file, start, length) == f"{crcs.crc32c(CONTENT[start : start + length]):08x}"


def test_bytes_beyond_the_end_of_the_file_do_not_count(file: int) -> None:
    """A file that was cut has another CRC, whatever the memory had before."""
    crc_of(file, 0, len(CONTENT))
    assert crc_of(file, 2 * CHUNK, 2 * CHUNK) == f"{crcs.crc32c(CONTENT[2 * CHUNK :]):08x}"


def test_threads_have_memory_of_their_own(file: int) -> None:
    def read(number: int) -> bool:
        start = number * 1000
        return all(crc_of(file, start, 2 * CHUNK) == wanted[number] for _ in range(50))

    wanted = [f"{crcs.crc32c(CONTENT[n * 1000 : n * 1000 + 2 * CHUNK]):08x}" for n in range(4)]
    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(read, range(4)))


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="without preadv, each piece is read into new memory")
def test_the_memory_is_used_again(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise each piece is fresh memory of the C library, which it returned after each part: 96 page faults."""
    seen, compute = set(), crcs.crc32c

    def record(data: Any, crc: int = 0) -> int:
        if isinstance(data, memoryview):
            seen.add(id(data.obj))
        return compute(data, crc)

    monkeypatch.setattr(crcs, "crc32c", record)
    for _ in range(2):
        crc_of(file, 0, 3 * CHUNK)
    assert len(seen) == 1
