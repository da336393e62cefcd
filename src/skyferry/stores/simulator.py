"""A store that misbehaves as told: latency, bandwidth, errors by kind, outages, a quota, bytes flipped and bodies cut short.

For rehearsals: `sim://` in a route shows what production does before production does it. What befalls a request depends
on the seed and on its number alone, whatever the requests do meanwhile; or a script says it.

Requests that time out or are reset do so before or after their effect, as real ones do, and listings in the middle. Of
the bodies cut short half break off with ConnectionLost, as an honest adapter has it; the others arrive without an error,
as from a proxy that lies, against the contract: the engine has to notice.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NoReturn, TypeVar

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
    Unsupported,
)
from skyferry.model import Attributes, Checksums, ObjectMeta
from skyferry.ports import ANY, Clock, CopySource, ObjectData, ObjectStore, Part, Precondition, Upload
from skyferry.ports.inspection import BucketFacts, InspectableStore

T = TypeVar("T")
RETRY_AFTER = 0.05  # seconds
PAGE = 1000  # a listing breaks off within so many objects


class Fault(StrEnum):
    """What may go wrong with one request. The first seven have a rate of the same name in the settings."""

    THROTTLE = "throttle"
    TIMEOUT = "timeout"
    RESET = "reset"
    PERMISSION = "permission"
    NOT_FOUND = "not_found"  # head and read only
    CORRUPT = "corrupt"  # read only
    TRUNCATE = "truncate"  # read only
    OUTAGE = "outage"
    QUOTA = "quota"


RATED = tuple(fault for fault in Fault if fault not in (Fault.OUTAGE, Fault.QUOTA))
ONLY = {Fault.NOT_FOUND: ("head", "read"), Fault.CORRUPT: ("read",), Fault.TRUNCATE: ("read",)}


@dataclass(frozen=True, slots=True)
class Planned:
    """One line of a script."""

    fault: Fault | None  # None = this request succeeds, whatever the rates are
    operation: str = ""  # method of the port; "" = any
    number: int = 0  # which request of that operation, from 1; 0 = every one
    late: bool = False  # a request broken after its effect; a body cut short without an error


@dataclass(frozen=True, slots=True)
class _Request:
    """One request and its fate."""

    operation: str
    key: str
    fault: Fault | None
    late: bool
    dice: float  # in [0, 1): the share of the jitter, the place of the flipped byte or of the break


class SimulatedStore:
    """An ObjectStore around another."""

    def __init__(
        self, inner: ObjectStore, settings: SimulatorSettings, clock: Clock, script: Sequence[Planned] = ()
    ) -> None:
        """The first line of `script` that fits a request decides its fault; the settings' rates where none does."""
        self.name, self.traits, self.copy_source = inner.name, inner.traits, inner.copy_source
        self._inner, self._settings, self._clock, self._script = inner, settings, clock, tuple(script)
        self._dice = random.Random(settings.seed)  # noqa: S311 - repeatable on purpose
        self._counts: Counter[str] = Counter()
        self._began = clock.monotonic()
        self._windows = [window(text) for text in settings.outages]
        self._free_at = 0.0  # when the simulated line is free again
        self._room = _Room(inner, settings.quota)

    async def head(self, key: str) -> ObjectMeta:
        return await self._do(self._next("head", key), 0, lambda: self._inner.head(key))

    async def read(self, key: str, start: int, length: int, *, version: str = "") -> ObjectData:
        request = self._next("read", key)
        got = await self._do(request, 0, lambda: self._inner.read(key, start, length, version=version))
        await self._transmit(len(got.data))
        if not got.data:
            return got
        at = int(request.dice * len(got.data))
        if request.fault is Fault.CORRUPT:
            return replace(got, data=got.data[:at] + bytes([got.data[at] ^ 1]) + got.data[at + 1 :])
        if request.fault is Fault.TRUNCATE:
            if not request.late:
                raise ConnectionLost(f"simulated: the body ended after {at} bytes", where=self._where(request))
            return replace(got, data=got.data[:at])
        return got

    async def write(
        self, key: str, data: bytes, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        request = self._next("write", key)

        async def write() -> ObjectMeta:
            await self._room.count()
            with self._room.needed(key, len(data)):
                return self._room.holds(await self._inner.write(key, data, attributes, checksums, when))

        return await self._do(request, len(data), write)

    async def start_upload(self, key: str, size: int, part_size: int, attributes: Attributes) -> Upload:
        request = self._next("start_upload", key)

        async def start() -> Upload:
            await self._room.count()
            with self._room.needed(key, size):
                upload = await self._inner.start_upload(key, size, part_size, attributes)
                self._room.uploads[upload.id] = size
                return upload

        return await self._do(request, 0, start)

    async def write_part(self, upload: Upload, number: int, data: bytes, crc32c: str) -> Part:
        request = self._next("write_part", upload.key)
        return await self._do(request, len(data), lambda: self._inner.write_part(upload, number, data, crc32c))

    async def finish_upload(
        self, upload: Upload, parts: Sequence[Part], checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        request = self._next("finish_upload", upload.key)

        async def finish() -> ObjectMeta:
            meta = self._room.holds(await self._inner.finish_upload(upload, parts, checksums, when))
            self._room.uploads.pop(upload.id, None)
            return meta

        return await self._do(request, 0, finish)

    async def abort_upload(self, upload: Upload) -> None:
        request = self._next("abort_upload", upload.key)

        async def abort() -> None:
            await self._inner.abort_upload(upload)
            self._room.uploads.pop(upload.id, None)

        await self._do(request, 0, abort)

    async def uploaded_parts(self, upload: Upload) -> list[Part]:
        request = self._next("uploaded_parts", upload.key)
        return await self._do(request, 0, lambda: self._inner.uploaded_parts(upload))

    async def uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        await self._begin(self._next("uploads", prefix), 0)
        async for upload in self._inner.uploads(prefix):
            yield upload

    async def copy_from(
        self, source: CopySource, found: ObjectMeta, key: str, attributes: Attributes, when: Precondition = ANY
    ) -> ObjectMeta:
        request = self._next("copy_from", key)

        async def copy() -> ObjectMeta:
            await self._room.count()
            with self._room.needed(key, found.size):
                return self._room.holds(await self._inner.copy_from(source, found, key, attributes, when))

        return await self._do(request, 0, copy)

    async def copy_part(self, upload: Upload, number: int, source: CopySource, found: ObjectMeta) -> Part:
        request = self._next("copy_part", upload.key)
        return await self._do(request, 0, lambda: self._inner.copy_part(upload, number, source, found))

    async def delete(self, key: str, when: Precondition = ANY) -> None:
        request = self._next("delete", key)

        async def delete() -> None:
            await self._inner.delete(key, when)
            self._room.sizes.pop(key, None)

        await self._do(request, 0, delete)

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        request = self._next("list", prefix)
        await self._begin(request, 0)
        broken = request.fault in (Fault.TIMEOUT, Fault.RESET)
        left = int(request.dice * PAGE) if broken and request.late else 0
        if left or not broken:
            async for meta in self._inner.list(prefix, after):
                yield meta
                left -= 1
                if left == 0:
                    break
        if broken:
            await self._break(request)

    async def inspect(self) -> BucketFacts:
        """Of what is inside: it costs no request."""
        if isinstance(self._inner, InspectableStore):
            return await self._inner.inspect()
        raise Unsupported(where=self.name)

    async def close(self) -> None:
        await self._inner.close()

    # --- one request ----------------------------------------------------------------------------------------------

    def _next(self, operation: str, key: str) -> _Request:
        """What befalls the next request. It takes the same number of dice for each."""
        self._counts[""] += 1
        self._counts[operation] += 1
        rolled, dice, late = self._dice.random(), self._dice.random(), self._dice.random() < 0.5
        for line in self._script:
            if line.operation in ("", operation) and line.number in (0, self._counts[line.operation]):
                return _Request(operation, key, line.fault, line.late, dice)
        return _Request(operation, key, self._drawn(operation, rolled), late, dice)

    def _drawn(self, operation: str, rolled: float) -> Fault | None:
        for fault in RATED:
            rate: float = getattr(self._settings, fault)
            if rolled < rate:
                return fault if operation in ONLY.get(fault, (operation,)) else None
            rolled -= rate
        return None

    async def _do(self, request: _Request, size: int, call: Callable[[], Awaitable[T]]) -> T:
        await self._begin(request, size)
        if request.fault in (Fault.TIMEOUT, Fault.RESET):
            if request.late:
                await call()
            await self._break(request)
        return await call()

    async def _begin(self, request: _Request, size: int) -> None:
        """The way there; raises what the request is refused with."""
        where = self._where(request)
        await self._clock.sleep(self._settings.latency + self._settings.jitter * request.dice)
        now = self._clock.monotonic() - self._began
        if request.fault is Fault.OUTAGE or any(start <= now < end for start, end in self._windows):
            raise StoreUnavailable("simulated outage", where=where)
        if request.fault is Fault.THROTTLE:
            raise Throttled("simulated", where=where, retry_after=RETRY_AFTER)
        if request.fault is Fault.PERMISSION:
            raise PermissionDenied("simulated", where=where)
        if request.fault is Fault.NOT_FOUND:
            raise ObjectNotFound("simulated", where=where)
        if request.fault is Fault.QUOTA:
            raise QuotaExceeded("simulated", where=where)
        await self._transmit(size)

    async def _break(self, request: _Request) -> NoReturn:
        if request.fault is Fault.TIMEOUT:
            await self._clock.sleep(self._settings.timeout_after)
            raise StoreTimeout("simulated", where=self._where(request))
        raise ConnectionLost("simulated reset", where=self._where(request))

    async def _transmit(self, size: int) -> None:
        """The time that the bytes take on the line that all requests share."""
        if self._settings.bandwidth and size:
            now = self._clock.monotonic()
            self._free_at = max(now, self._free_at) + size / self._settings.bandwidth
            await self._clock.sleep(self._free_at - now)

    def _where(self, request: _Request) -> str:
        return f"{self.name} {request.key}"


class _Room:
    """The room under a quota, as seen through one SimulatedStore: others who write into the bucket are not counted."""

    def __init__(self, inner: ObjectStore, quota: int) -> None:
        self._inner, self._quota = inner, quota
        self._counting, self._counted = asyncio.Lock(), not quota
        self._writing = 0
        self.sizes: dict[str, int] = {}  # by key
        self.uploads: dict[str, int] = {}  # by id

    async def count(self) -> None:
        """Look what is there, once, if there is a quota to keep."""
        async with self._counting:
            if not self._counted:
                self.sizes = {meta.key: meta.size async for meta in self._inner.list()}
                self._counted = True

    @contextmanager
    def needed(self, key: str, size: int) -> Iterator[None]:
        """Raises QuotaExceeded if it is not there; what the key holds now is freed by the write."""
        if self._quota:
            used = sum(self.sizes.values()) + sum(self.uploads.values()) + self._writing
            if used - self.sizes.get(key, 0) + size > self._quota:
                raise QuotaExceeded(
                    f"simulated: {used} of {self._quota} bytes are used", where=key, hint="raise simulator.quota"
                )
        self._writing += size
        try:
            yield
        finally:
            self._writing -= size

    def holds(self, meta: ObjectMeta) -> ObjectMeta:
        """It was written."""
        if self._quota:
            self.sizes[meta.key] = meta.size
        return meta
