"""Memory of large reads is used again, but never while anything refers to it."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from skyferry.bodies import BUFFERS, FEW, KEPT, LARGE, BufferPool
from skyferry.model import Attributes, Checksums
from skyferry.stores.local.store import LocalStore


def test_memory_is_used_again_once_nothing_refers_to_it() -> None:
    """A slice of a view is a reference."""
    pool = BufferPool()
    other = pool.allocate(LARGE)
    first = pool.allocate(LARGE)
    first[:5] = b"first"
    kept = first[:5]
    del first
    second = pool.allocate(LARGE)
    second[:5] = b"other"
    assert bytes(kept) == b"first"
    del kept
    assert bytes(pool.allocate(LARGE)[:5]) == b"first", "the same memory"
    assert len(other) == len(second) == LARGE


def test_a_pool_keeps_little_and_nothing_while_idle() -> None:
    """The memory budget bounds what is in use, not what is kept."""
    pool = BufferPool()
    views = [pool.allocate(8 * LARGE) for _ in range(16)]
    last = views.pop()
    views.clear()
    assert held(pool) == KEPT
    views = [pool.allocate(8 * LARGE) for _ in range(4)]
    assert not pool._free, "each was used again"
    views.clear()
    del last
    assert not pool._free
    assert not pool._used


def test_a_pool_keeps_two_larger_parts() -> None:
    pool = BufferPool()
    views = [pool.allocate(KEPT) for _ in range(4)]
    del views[1:]
    assert held(pool) == FEW * KEPT
    views.clear()
    assert held(pool) == 0


def test_a_collection_may_return_memory_while_other_memory_is_looked_for() -> None:
    """Then the pool is emptied, because nothing is in use any more."""
    pool = BufferPool()

    class Holder:
        def __init__(self, view: memoryview) -> None:
            self.view, self.me = view, self

    before = gc.get_threshold()
    try:
        for _ in range(200):
            gc.collect()
            views = [pool.allocate(LARGE) for _ in range(3)]
            Holder(views.pop())  # garbage only for the collector
            views.clear()
            gc.set_threshold(1)
            assert len(pool.allocate(LARGE)) == LARGE
            gc.set_threshold(*before)
    finally:
        gc.set_threshold(*before)


def test_memory_is_kept_for_a_transfer_that_waits() -> None:
    """Between the last byte of some objects and the first of the next, servers answer, and nothing is in use."""
    pool = BufferPool()
    with pool.keep(), pool.keep():
        view = pool.allocate(LARGE)
        view[:1] = b"1"
        del view
        assert held(pool) == LARGE
        assert bytes(pool.allocate(LARGE)[:1]) == b"1", "the same memory"
    assert held(pool) == 0


def held(pool: BufferPool) -> int:
    """Return the bytes that are kept."""
    return sum(map(len, pool._free))


def test_threads_never_share_memory() -> None:
    """Each fills its memory, waits, and finds what it wrote."""
    pool = BufferPool()

    def fill(number: int) -> bool:
        found = True
        for turn in range(30):
            view = pool.allocate(LARGE)
            mark = bytes([number, turn]) * 8
            view[:16] = view[-16:] = mark
            gc.collect(0)
            found = found and bytes(view[:16]) == bytes(view[-16:]) == mark
            del view
        return found

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(fill, range(8)))
    finally:
        sys.setswitchinterval(before)
    assert not pool._used


@pytest.mark.skipif(sys.platform != "linux", reason="counts page faults of Linux")
async def test_parts_of_a_file_are_read_without_page_faults(tmp_path: Path) -> None:
    """The next part is read into the memory of one that has passed."""
    import resource  # not on every system

    size, part = 16 * LARGE, 2 * LARGE
    content = random.Random(1).randbytes(size)
    (tmp_path / "k").write_bytes(content)
    store = LocalStore("s", tmp_path, threads=1)
    held = await store.read("k", 0, part)  # another part is in use, as in a copy
    assert (await store.read("k", part, part)).data == content[part : 2 * part]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for start in range(0, size, part):
        assert (await store.read("k", start, part)).data == memoryview(content)[start : start + part]
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert held.data == content[:part]
    await store.close()
    assert faults < size // mmap_page() // 4, "each page of fresh memory would be one"


def mmap_page() -> int:
    import mmap

    return mmap.PAGESIZE


async def test_a_cancelled_read_keeps_its_memory(tmp_path: Path) -> None:
    """Its thread may still write into it. Reads that follow get other memory."""
    content = random.Random(2).randbytes(4 * LARGE)
    store = LocalStore("s", tmp_path, threads=2)
    await store.write("k", content, Attributes(), Checksums())
    for _ in range(20):
        cancelled = asyncio.ensure_future(store.read("k", 0, len(content)))
        await asyncio.sleep(0)
        cancelled.cancel()
        found = await store.read("k", LARGE, 2 * LARGE)
        await asyncio.gather(cancelled, return_exceptions=True)
        assert found.data == content[LARGE : 3 * LARGE]
    await store.close()


async def test_stores_share_the_memory_as_they_share_the_budget(tmp_path: Path) -> None:
    """Otherwise each would keep some of its own."""
    stores = [LocalStore(name, tmp_path, threads=1) for name in "ab"]
    await stores[0].write("k", bytes(LARGE), Attributes(), Checksums())
    gc.collect()
    before = len(BUFFERS._used)
    found = [await store.read("k", 0, LARGE) for store in stores]
    assert len(BUFFERS._used) == before + 2
    assert [len(each.data) for each in found] == [LARGE, LARGE]
    for store in stores:
        await store.close()
