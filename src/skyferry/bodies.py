"""Bodies of requests that are never whole in memory, and memory for the bytes of large reads, used again by later ones.

Each 4 KiB of fresh memory cost a page fault, which took three quarters of the time of reading a part from the page cache.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import cast

from skyferry.frozen import dataclass

PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # shared memory, the default, has dearer page faults
FEW = 2  # free memories that a pool keeps whatever their size
KEPT = 32 * 2**20  # bytes of free memory up to which it keeps more
LARGE = 2**20  # bytes; the C library maps fresh memory for each allocation from this size on


@dataclass(frozen=True, slots=True)
class StreamedBody:
    """The bytes of one object."""

    size: int  # bytes
    pieces: Callable[[], AsyncIterator[bytes]]  # begins anew in each call, for a request that is sent again


class BodyFailed(Exception):
    """The bytes to send ended early. What receives them makes nothing visible, and lets this pass. The cause is `__cause__`."""


async def collect(body: StreamedBody) -> bytes:
    """Return the whole body. For stores in memory."""
    return b"".join([piece async for piece in body.pieces()])


class BufferPool:
    """Memory of large ranges.

    Memory returns when nothing refers to it any more. So neither a cancelled caller nor a thread that outlives it can write into
    memory that is in use elsewhere. A pool keeps a little of it for the next ranges, because it is outside the memory budget, and
    none once nothing is in use and no `keep` is open.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a collection of garbage may return memory at any point
        self._free: list[mmap.mmap] = []  # the last used comes last: caches of the processor may have it
        self._used: dict[int, weakref.ref[ctypes.Array[ctypes.c_char]]] = {}  # by a number
        self._keepers = 0

    def allocate(self, size: int) -> memoryview:
        """Return memory for `size` bytes with any content."""
        with self._lock:
            memory = self._take_free(size) or mmap.mmap(-1, size, flags=PRIVATE)
            lent = (ctypes.c_char * len(memory)).from_buffer(memory)
            number = id(memory)
            self._used[number] = weakref.ref(lent, lambda _: self._take_back(number, memory))
        return memoryview(lent).cast("B")[:size]

    @contextmanager
    def keep(self) -> Iterator[None]:
        """Keep memory for the next ranges, although nothing is in use while a server takes its time."""
        with self._lock:
            self._keepers += 1
        try:
            yield
        finally:
            with self._lock:
                self._keepers -= 1
                self._drop_excess()

    def _take_free(self, size: int) -> mmap.mmap | None:
        for memory in reversed(self._free.copy()):  # a collection of garbage may change the list at any point
            if size <= len(memory) <= 2 * size and memory in self._free:
                self._free.remove(memory)
                return memory
        return None

    def _take_back(self, number: int, memory: mmap.mmap) -> None:
        with self._lock:
            del self._used[number]
            self._free.append(memory)
            self._drop_excess()

    def _drop_excess(self) -> None:
        if not self._used and not self._keepers:
            self._free.clear()
        while sum(map(len, self._free)) > KEPT and len(self._free) > FEW:
            del self._free[:1]


BUFFERS = BufferPool()  # of this process: all stores share it, so that what is kept counts once


def as_bytes(view: memoryview) -> bytes:
    """Return the view where bytes are expected, without a copy.

    Whatever takes the bytes of a large range slices, joins, compares, digests, writes or sends them, which a view can do as well.
    What keeps them longer, or needs another method, MUST copy them with `bytes()`.
    """
    return cast(bytes, view)
