"""A store that simulates faults: latency, bandwidth, errors by kind, outages, a quota, flipped bytes and truncated bodies.

With `sim://` in a route, a rehearsal shows faults before production does. The fault of a request depends only on the seed
and on its number, whatever the other requests do meanwhile; or a script decides it.

A request that times out or is reset fails before or after its effect, as real ones do, and a listing fails in the middle.
Half of the truncated bodies raise ConnectionLost, as a correct adapter does. The others arrive without an error, as from a
broken proxy; this violates the contract, and the engine has to notice it.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from enum import StrEnum
from typing import Any, NoReturn, TypeVar

from skyferry.bodies import StreamedBody
from skyferry.config.settings import SimulatorSettings
from skyferry.config.units import parse_window
from skyferry.errors import (
    ConnectionLost,
    ObjectNotFound,
    PermissionDenied,
    QuotaExceeded,
    StoreTimeout,
    StoreUnavailable,
    Throttled,
    Unsupported,
)
from skyferry.frozen import dataclass
from skyferry.model import Attributes, Checksums, ObjectMeta
from skyferry.ports import ANY, Clock, CopySource, ObjectData, ObjectStore, Part, Precondition, Upload
from skyferry.ports.decorators import Operation, StoreDecorator
from skyferry.ports.inspection import BucketFacts, InspectableStore

T = TypeVar("T")
RETRY_AFTER = 0.05  # seconds
PAGE = 1000  # objects within which a failing listing breaks


class SimulatedFault(StrEnum):
    """A fault of one request. The first seven have a rate of the same name in the settings."""

    THROTTLE = "throttle"
    TIMEOUT = "timeout"
    RESET = "reset"
    PERMISSION = "permission"
    NOT_FOUND = "not_found"  # head and read only
    CORRUPT = "corrupt"  # read only
    TRUNCATE = "truncate"  # read only
    OUTAGE = "outage"
    QUOTA = "quota"


RATED = tuple(fault for fault in SimulatedFault if fault not in (SimulatedFault.OUTAGE, SimulatedFault.QUOTA))
ONLY = {
    SimulatedFault.NOT_FOUND: ("head", "read"),
    SimulatedFault.CORRUPT: ("read",),
    SimulatedFault.TRUNCATE: ("read",),
}


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """One line of a script."""

    fault: SimulatedFault | None  # None = the request succeeds, whatever the rates are
    operation: str = ""  # method of the port; "" = any
    number: int = 0  # number of the request of that operation, from 1; 0 = all
    late: bool = False  # fail after the effect; truncate without an error


@dataclass(frozen=True, slots=True)
class _Request:
    """One request and its fault."""

    operation: str
    key: str
    fault: SimulatedFault | None
    late: bool
    dice: float  # in [0, 1): the share of the jitter, the place of the flipped byte or of the break


class SimulatedStore(StoreDecorator):
    """An ObjectStore whose requests fail by plan, or at random."""

    def __init__(
        self, inner: ObjectStore, settings: SimulatorSettings, clock: Clock, script: Sequence[PlannedFault] = ()
    ) -> None:
        """The first line of `script` that matches a request decides its fault; otherwise the rates of the settings do."""
        super().__init__(QuotaStore(inner, settings.quota) if settings.quota else inner)
        self._bare, self._settings, self._clock, self._script = inner, settings, clock, tuple(script)
        self._dice = random.Random(settings.seed)  # noqa: S311 - repeatable on purpose
        self._counts: Counter[str] = Counter()
        self._began = clock.monotonic()
        self._windows = [parse_window(text) for text in settings.outages]
        self._free_at = 0.0  # when the simulated line is free again

    async def read(self, key: str, start: int, length: int, *, version: str = "") -> ObjectData:
        request = self._next("read", key)
        got = await self._do(request, 0, self._read, key, start, length, version)
        await self._transmit(len(got.data))
        if not got.data:
            return got
        at = int(request.dice * len(got.data))
        if request.fault is SimulatedFault.CORRUPT:
            return replace(got, data=got.data[:at] + bytes([got.data[at] ^ 1]) + got.data[at + 1 :])
        if request.fault is SimulatedFault.TRUNCATE:
            if not request.late:
                raise ConnectionLost(f"simulated: the body ended after {at} bytes", where=self._where(request))
            return replace(got, data=got.data[:at])
        return got

    async def uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        await self._begin(self._next("uploads", prefix), 0)
        async for upload in self.inner.uploads(prefix):
            yield upload

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        request = self._next("list", prefix)
        await self._begin(request, 0)
        broken = request.fault in (SimulatedFault.TIMEOUT, SimulatedFault.RESET)
        left = int(request.dice * PAGE) if broken and request.late else 0
        if left or not broken:
            async for meta in self.inner.list(prefix, after):
                yield meta
                left -= 1
                if left == 0:
                    break
        if broken:
            await self._break(request)

    async def inspect(self) -> BucketFacts:
        """Inspect the store inside; this counts as no request."""
        if isinstance(self._bare, InspectableStore):
            return await self._bare.inspect()
        raise Unsupported(where=self.name)

    # --- one request ----------------------------------------------------------------------------------------------

    def _next(self, operation: str, key: str) -> _Request:
        """Decide the fault of the next request. Every request takes the same number of random values."""
        self._counts[""] += 1
        self._counts[operation] += 1
        rolled, dice, late = self._dice.random(), self._dice.random(), self._dice.random() < 0.5
        for line in self._script:
            if line.operation in ("", operation) and line.number in (0, self._counts[line.operation]):
                return _Request(operation, key, line.fault, line.late, dice)
        return _Request(operation, key, self._drawn(operation, rolled), late, dice)

    def _drawn(self, operation: str, rolled: float) -> SimulatedFault | None:
        for fault in RATED:
            rate: float = getattr(self._settings, fault)
            if rolled < rate:
                return fault if operation in ONLY.get(fault, (operation,)) else None
            rolled -= rate
        return None

    async def _request(
        self, operation: Operation, key: str, size: int, call: Callable[..., Coroutine[Any, Any, T]], *args: Any
    ) -> T:
        return await self._do(self._next(operation.name, key), size if operation.sends else 0, call, *args)

    async def _do(self, request: _Request, sent: int, call: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        await self._begin(request, sent)
        if request.fault in (SimulatedFault.TIMEOUT, SimulatedFault.RESET):
            if request.late:
                await call(*args)
            await self._break(request)
        return await call(*args)

    async def _begin(self, request: _Request, size: int) -> None:
        """Wait for latency and bandwidth, then raise the error of a refused request."""
        where = self._where(request)
        await self._clock.sleep(self._settings.latency + self._settings.jitter * request.dice)
        now = self._clock.monotonic() - self._began
        if request.fault is SimulatedFault.OUTAGE or any(start <= now < end for start, end in self._windows):
            raise StoreUnavailable("simulated outage", where=where)
        if request.fault is SimulatedFault.THROTTLE:
            raise Throttled("simulated", where=where, retry_after=RETRY_AFTER)
        if request.fault is SimulatedFault.PERMISSION:
            raise PermissionDenied("simulated", where=where)
        if request.fault is SimulatedFault.NOT_FOUND:
            raise ObjectNotFound("simulated", where=where)
        if request.fault is SimulatedFault.QUOTA:
            raise QuotaExceeded("simulated", where=where)
        await self._transmit(size)

    async def _break(self, request: _Request) -> NoReturn:
        if request.fault is SimulatedFault.TIMEOUT:
            await self._clock.sleep(self._settings.timeout_after)
            raise StoreTimeout("simulated", where=self._where(request))
        raise ConnectionLost("simulated reset", where=self._where(request))

    async def _transmit(self, size: int) -> None:
        """Wait for the time of the bytes on the line, which all requests share."""
        if self._settings.bandwidth and size:
            now = self._clock.monotonic()
            self._free_at = max(now, self._free_at) + size / self._settings.bandwidth
            await self._clock.sleep(self._free_at - now)

    def _where(self, request: _Request) -> str:
        return f"{self.name} {request.key}"


class QuotaStore(StoreDecorator):
    """Refuses writes beyond a quota of bytes, as seen through this store: other writers to the bucket are not counted."""

    def __init__(self, inner: ObjectStore, quota: int) -> None:
        super().__init__(inner)
        self._quota = quota
        self._counting, self._counted = asyncio.Lock(), False
        self._writing = 0
        self._sizes: dict[str, int] = {}  # by key
        self._uploads: dict[str, int] = {}  # by id

    async def write(
        self, key: str, data: bytes, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        async with self._room(key, len(data)):
            return self._take(await self.inner.write(key, data, attributes, checksums, when))

    async def write_stream(
        self, key: str, body: StreamedBody, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        async with self._room(key, body.size):
            return self._take(await self.inner.write_stream(key, body, attributes, checksums, when))

    async def start_upload(self, key: str, size: int, part_size: int, attributes: Attributes) -> Upload:
        async with self._room(key, size):
            upload = await self.inner.start_upload(key, size, part_size, attributes)
            self._uploads[upload.id] = size
            return upload

    async def finish_upload(
        self, upload: Upload, parts: Sequence[Part], checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        meta = self._take(await self.inner.finish_upload(upload, parts, checksums, when))
        self._uploads.pop(upload.id, None)
        return meta

    async def abort_upload(self, upload: Upload) -> None:
        await self.inner.abort_upload(upload)
        self._uploads.pop(upload.id, None)

    async def copy_from(
        self, source: CopySource, found: ObjectMeta, key: str, attributes: Attributes, when: Precondition = ANY
    ) -> ObjectMeta:
        async with self._room(key, found.size):
            return self._take(await self.inner.copy_from(source, found, key, attributes, when))

    async def delete(self, key: str, when: Precondition = ANY) -> None:
        await self.inner.delete(key, when)
        self._sizes.pop(key, None)

    @asynccontextmanager
    async def _room(self, key: str, size: int) -> AsyncIterator[None]:
        """Reserve room for a write. Raise QuotaExceeded if there is none; a write frees what it replaces."""
        async with self._counting:
            if not self._counted:
                self._sizes = {meta.key: meta.size async for meta in self.inner.list()}
                self._counted = True
        used = sum(self._sizes.values()) + sum(self._uploads.values()) + self._writing
        if used - self._sizes.get(key, 0) + size > self._quota:
            raise QuotaExceeded(
                f"simulated: {used} of {self._quota} bytes are used", where=key, hint="raise simulator.quota"
            )
        self._writing += size
        try:
            yield
        finally:
            self._writing -= size

    def _take(self, meta: ObjectMeta) -> ObjectMeta:
        self._sizes[meta.key] = meta.size
        return meta
