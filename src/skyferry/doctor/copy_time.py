"""Estimate the time of a copy from a timed read of part of the largest object in a bounded listing."""

from __future__ import annotations

from collections.abc import Callable

from skyferry.frozen import dataclass
from skyferry.model import ObjectMeta
from skyferry.ports import Clock, ObjectStore

FIRST = 1000  # objects that are listed: one page of S3 and of Cloud Storage
SAMPLE = 4 * 2**20  # bytes, at most, that are read


@dataclass(frozen=True, slots=True)
class ReadSpeed:
    """The size and duration of one read."""

    store: str  # its name
    key: str
    size: int  # bytes of the whole object
    read: int  # bytes of it that were read
    took: float  # seconds

    @property
    def seconds(self) -> float:
        """The estimate for the whole object at this rate, by one connection and without the write."""
        return self.took * self.size / self.read if self.read else self.took


async def find_largest(store: ObjectStore, prefix: str, taken: Callable[[ObjectMeta], bool]) -> ObjectMeta | None:
    """Return the largest of the first objects under a prefix, preferably one that a route accepts. Raises as `list`."""
    best, count = None, 0
    async for meta in store.list(prefix):
        if best is None or (taken(meta), meta.size) > (taken(best), best.size):
            best = meta
        if (count := count + 1) >= FIRST:
            break
    return best


async def time_read(store: ObjectStore, meta: ObjectMeta, clock: Clock) -> ReadSpeed:
    """Read the beginning of an object. Raises as `ObjectStore.read`."""
    began = clock.monotonic()
    got = await store.read(meta.key, 0, max(1, min(meta.size, SAMPLE)))
    return ReadSpeed(store.name, meta.key, got.meta.size, len(got.data), clock.monotonic() - began)
