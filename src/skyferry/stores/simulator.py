"""A store that misbehaves as told: latency, bandwidth, errors by kind, outages, a quota, bytes flipped and bodies cut short.

For rehearsals: `sim://` in a route shows what production does before production does it. Faults are drawn from a seed,
or scripted one by one. Requests that time out or are reset do so before or after their effect, as real ones do; a body
cut short arrives without an error, as from a proxy that lies, and the engine has to notice.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import TypeVar

from skyferry.config.settings import SimulatorSettings
from skyferry.config.units import window
from skyferry.errors import (
    ConnectionLost,
    ObjectNotFound,
    PermissionDenied,
    QuotaExceeded,
    StoreTimeout,
    StoreUnavailable,
    Throttled,
)
from skyferry.model import Attributes, Checksums, ObjectMeta
from skyferry.ports import ANY, Clock, ObjectData, ObjectStore, Part, Precondition, Upload

T = TypeVar("T")


class Fault(StrEnum):
    """What may go wrong with one request."""

    THROTTLE = "throttle"
    TIMEOUT = "timeout"
    RESET = "reset"
    PERMISSION = "permission"
    NOT_FOUND = "not_found"  # reads only
    CORRUPT = "corrupt"  # reads only
    TRUNCATE = "truncate"  # reads only


READS = ("head", "read")


class SimulatedStore:
    """An ObjectStore around another."""

    def __init__(
        self,
        inner: ObjectStore,
        settings: SimulatorSettings,
        clock: Clock,
        script: Sequence[tuple[str, Fault | None]] = (),
    ) -> None:
        """`script` names operations and their faults in order; a request that is next in it gets that fault, and no other."""
        self.name, self.traits = inner.name, inner.traits
        self._inner, self._settings, self._clock = inner, settings, clock
        self._dice = random.Random(settings.seed)  # noqa: S311 - repeatable on purpose
        self._script = deque(script)
        self._began = clock.monotonic()
        self._windows = [window(text) for text in settings.outages]
        self._free_at = 0.0  # when the simulated line is free again
        self._used: int | None = None  # bytes, counted once there is a quota to keep

    async def head(self, key: str) -> ObjectMeta:
        return await self._request("head", key, 0, lambda: self._inner.head(key))

    async def read(self, key: str, start: int, length: int, *, version: str = "") -> ObjectData:
        fault = self._draw("read")
        got = await self._request("read", key, 0, lambda: self._inner.read(key, start, length, version=version), fault)
        await self._line(len(got.data))
        if fault is Fault.TRUNCATE and got.data:
            return replace(got, data=got.data[: self._dice.randrange(len(got.data))])
        if fault is Fault.CORRUPT and got.data:
            at = self._dice.randrange(len(got.data))
            flipped = bytes([got.data[at] ^ (1 << self._dice.randrange(8))])
            return replace(got, data=got.data[:at] + flipped + got.data[at + 1 :])
        return got

    async def write(
        self, key: str, data: bytes, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        await self._within_quota(key, len(data))
        return await self._request(
            "write", key, len(data), lambda: self._inner.write(key, data, attributes, checksums, when)
        )

    async def start_upload(self, key: str, size: int, part_size: int, attributes: Attributes) -> Upload:
        await self._within_quota(key, size)
        return await self._request(
            "start_upload", key, 0, lambda: self._inner.start_upload(key, size, part_size, attributes)
        )

    async def write_part(self, upload: Upload, number: int, data: bytes, crc32c: str) -> Part:
        return await self._request(
            "write_part", upload.key, len(data), lambda: self._inner.write_part(upload, number, data, crc32c)
        )

    async def finish_upload(
        self, upload: Upload, parts: Sequence[Part], checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        return await self._request(
            "finish_upload", upload.key, 0, lambda: self._inner.finish_upload(upload, parts, checksums, when)
        )

    async def abort_upload(self, upload: Upload) -> None:
        await self._request("abort_upload", upload.key, 0, lambda: self._inner.abort_upload(upload))

    async def delete(self, key: str, when: Precondition = ANY) -> None:
        await self._request("delete", key, 0, lambda: self._inner.delete(key, when))

    def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        return self._inner.list(prefix, after)

    async def close(self) -> None:
        await self._inner.close()

    async def _request(
        self, operation: str, key: str, size: int, call: Callable[[], Awaitable[T]], fault: Fault | None = None
    ) -> T:
        s, where = self._settings, f"{self.name} {key}"
        await self._clock.sleep(s.latency + s.jitter * self._dice.random())
        if any(start <= self._clock.monotonic() - self._began < end for start, end in self._windows):
            raise StoreUnavailable("simulated outage", where=where)
        fault = fault or self._draw(operation)
        late = self._dice.random() < 0.5  # whether a broken request had its effect
        await self._line(size)
        if fault is Fault.THROTTLE:
            raise Throttled("simulated", where=where, retry_after=0.05)
        if fault is Fault.PERMISSION:
            raise PermissionDenied("simulated", where=where)
        if fault is Fault.NOT_FOUND:
            raise ObjectNotFound("simulated", where=where)
        if fault in (Fault.TIMEOUT, Fault.RESET):
            if late:
                await call()
            if fault is Fault.RESET:
                raise ConnectionLost("simulated reset", where=where)
            await self._clock.sleep(s.timeout_after)
            raise StoreTimeout("simulated", where=where)
        return await call()

    def _draw(self, operation: str) -> Fault | None:
        """The fault of the next request: the script's, if it is this one's turn, else the dice's."""
        if self._script and self._script[0][0] == operation:
            return self._script.popleft()[1]
        drawn = self._dice.random()
        for fault in Fault:
            if fault in (Fault.NOT_FOUND, Fault.CORRUPT, Fault.TRUNCATE) and operation not in READS:
                continue
            rate: float = getattr(self._settings, fault)
            if drawn < rate:
                return fault
            drawn -= rate
        return None

    async def _line(self, size: int) -> None:
        """The time that the bytes take on the line that all requests share."""
        if self._settings.bandwidth and size:
            now = self._clock.monotonic()
            self._free_at = max(now, self._free_at) + size / self._settings.bandwidth
            await self._clock.sleep(self._free_at - now)

    async def _within_quota(self, key: str, size: int) -> None:
        """Counts what is written; what is deleted or replaced stays counted until the next start, as in a slow accountant's."""
        if not self._settings.quota:
            return
        if self._used is None:
            self._used = sum([meta.size async for meta in self._inner.list()])
        if self._used + size > self._settings.quota:
            raise QuotaExceeded("simulated", where=f"{self.name} {key}", hint="raise simulator.quota")
        self._used += size
