"""Stores as the engine uses them: each request limited, timed, guarded by the breaker, tried again, and observed.

`guard` is the order of wrapping, from the inside: adapter, then one try (breaker, rate limit, deadline), then retries.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TypeVar

from skyferry.engine.resilience.admission import Breaker, RateLimiter
from skyferry.errors import (
    ConnectionLost,
    Disposition,
    Fenced,
    IdentityRefused,
    SkyferryError,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
)
from skyferry.model import UNPLAIN, Attributes, Checksums, ObjectMeta
from skyferry.ports import ANY, Clock, CopySource, ObjectData, ObjectStore, Observer, Part, Precondition, Upload
from skyferry.records import Record
from skyferry.retry import Backoff

T = TypeVar("T")
# Bytes a second, of what a request carries: a slow line is no fault, and one that stands still is told.
CARRIED = 256 * 2**10
COPIED = 16 * 2**20  # bytes a second, of what a provider copies by itself: for so much longer it may take to answer


@dataclass(frozen=True, slots=True)
class Guards:
    """What stands between the engine and one store."""

    breaker: Breaker
    requests: RateLimiter
    bytes: RateLimiter
    clock: Clock
    observer: Observer
    random: random.Random
    timeout: float = 60.0  # seconds, for one try of one request
    tries: int = 4
    backoff: Backoff = field(default_factory=lambda: Backoff(0.1, 2.0))
    patience: float = (
        0.0  # seconds from its first failure that an outage is waited out, however many `tries` that takes
    )


class GuardedStore:
    """An ObjectStore around another."""

    def __init__(self, inner: ObjectStore, guards: Guards) -> None:
        self.inner, self.guards = inner, guards
        self.name, self.traits, self.copy_source = inner.name, inner.traits, inner.copy_source
        self._due: dict[object, float] = {}  # when each request under way ought to have an answer; monotonic

    def overdue(self) -> float:
        """Seconds that the request that waits longest ought to have been answered ago; not above 0 = none is late."""
        return self.guards.clock.monotonic() - min(self._due.values(), default=math.inf)

    async def head(self, key: str) -> ObjectMeta:
        return await self._ask("head", "read", key, 0, lambda: self.inner.head(key))

    async def read(self, key: str, start: int, length: int, *, version: str = "") -> ObjectData:
        came: list[bytes] = []  # of a version that is sure to be the same when it is asked for the rest

        async def rest() -> ObjectData:
            begin = start + sum(map(len, came))
            try:
                got = await self.inner.read(key, begin, start + length - begin, version=version)
            except StoreError as broken:
                if version and broken.partial:
                    came.append(broken.partial)
                raise
            if len(got.data) != max(0, min(start + length, got.meta.size) - begin):
                raise ConnectionLost("the body ended early", where=f"{self.name} {key}")
            return replace(got, data=b"".join((*came, got.data))) if came else got

        answer = await self._ask("read", "read", key, 0, rest, slow=length / CARRIED)
        await self.guards.bytes.take(len(answer.data))  # a debt: how much comes is known only now
        return answer

    async def write(
        self, key: str, data: bytes, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        return await self._ask(
            "write",
            "write",
            key,
            len(data),
            lambda: self.inner.write(key, data, attributes, checksums, when),
            slow=len(data) / CARRIED,
        )

    async def start_upload(self, key: str, size: int, part_size: int, attributes: Attributes) -> Upload:
        return await self._ask(
            "start_upload", "write", key, 0, lambda: self.inner.start_upload(key, size, part_size, attributes)
        )

    async def write_part(self, upload: Upload, number: int, data: bytes, crc32c: str) -> Part:
        return await self._ask(
            "write_part",
            "write",
            upload.key,
            len(data),
            lambda: self.inner.write_part(upload, number, data, crc32c),
            slow=len(data) / CARRIED,
        )

    async def finish_upload(
        self, upload: Upload, parts: Sequence[Part], checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        return await self._ask(
            "finish_upload",
            "write",
            upload.key,
            0,
            lambda: self.inner.finish_upload(upload, parts, checksums, when),
            slow=upload.size / COPIED,  # some put the parts together byte by byte
        )

    async def abort_upload(self, upload: Upload) -> None:
        await self._ask("abort_upload", "write", upload.key, 0, lambda: self.inner.abort_upload(upload))

    async def uploaded_parts(self, upload: Upload) -> list[Part]:
        return await self._ask("uploaded_parts", "read", upload.key, 0, lambda: self.inner.uploaded_parts(upload))

    async def uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        """After a failure that passes it begins again, without what it has given: they may come in another order."""
        given: set[tuple[str, str]] = set()
        tries, since = 0, 0.0
        while True:
            try:
                async for upload in self.inner.uploads(prefix):
                    if (upload.key, upload.id) not in given:
                        given.add((upload.key, upload.id))
                        tries = 0
                        yield upload
                return
            except SkyferryError as error:
                tries += 1
                since = since if tries > 1 else self.guards.clock.monotonic()
                delay = self._again("uploads", error, tries, since)
            await self.guards.clock.sleep(delay)

    async def copy_from(
        self, source: CopySource, found: ObjectMeta, key: str, attributes: Attributes, when: Precondition = ANY
    ) -> ObjectMeta:
        return await self._ask(
            "copy_from",
            "write",
            key,
            0,
            lambda: self.inner.copy_from(source, found, key, attributes, when),
            slow=found.size / COPIED,
        )

    async def copy_part(self, upload: Upload, number: int, source: CopySource, found: ObjectMeta) -> Part:
        return await self._ask(
            "copy_part",
            "write",
            upload.key,
            0,
            lambda: self.inner.copy_part(upload, number, source, found),
            slow=upload.part_size / COPIED,
        )

    async def delete(self, key: str, when: Precondition = ANY) -> None:
        await self._ask("delete", "write", key, 0, lambda: self.inner.delete(key, when))

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        """After a failure that passes it begins again, behind what it has given: not every service sorts as `after` would.

        `traits.order` is taken back when a key does not come in order, which is told once.
        """
        last, tries, since = "", 0, 0.0
        failed: SkyferryError | None = None
        while True:
            passing = bool(last)
            try:
                async for found in self.inner.list(prefix, after):
                    if not passing and found.key != last:
                        if found.key < last:
                            self._disordered(last, found.key)
                        last, tries = found.key, 0
                        yield found
                    passing = passing and found.key != last
            except SkyferryError as error:
                failed, tries = error, tries + 1
                since = since if tries > 1 else self.guards.clock.monotonic()
                delay = self._again("list", error, tries, since)
            else:
                if passing and failed:  # the last one was deleted meanwhile: where to go on is not known
                    raise failed
                return
            await self.guards.clock.sleep(delay)

    def _disordered(self, before: str, key: str) -> None:
        """Who joins listings reads the trait anew."""
        plain = not UNPLAIN.search(before + key)
        if self.traits.order == "none" or (self.traits.order == "plain" and not plain):
            return
        self.traits = replace(self.traits, order="none" if plain else "plain")
        message = f"its listing gives this key after {before}: it is not joined with others, but looked up"
        self.guards.observer.on(Record("store.disordered", store=self.name, key=key, message=message))

    async def close(self) -> None:
        await self.inner.close()

    async def _ask(
        self, operation: str, side: str, key: str, size: int, call: Callable[[], Awaitable[T]], slow: float = 0.0
    ) -> T:
        """One request, tried again while it fails for reasons that pass; it may take `slow` seconds longer than others."""
        g = self.guards
        since = g.clock.monotonic()
        for attempt in count(1):
            try:
                return await self._try(operation, side, key, size, call, self.guards.timeout + slow)
            except SkyferryError as error:
                error.store, error.side, error.since = self.name, side, since
                delay = self._again(operation, error, attempt, since)
            await g.clock.sleep(delay)
        raise Fenced  # not reached: the last try returns or raises

    def _again(self, operation: str, error: SkyferryError, attempt: int, since: float) -> float:
        """Seconds until the next try. Raises the error if there is none, or none soon: nobody holds memory as long as that.

        With `patience` an outage that began at `since` (monotonic seconds) is waited out, and the record says why.
        """
        g = self.guards
        if error.disposition is not Disposition.RETRY or not error.outage:
            raise error
        shut = g.breaker.admits()
        last = attempt >= g.tries or shut > 0 or (error.retry_after or 0.0) > g.timeout
        delay = max(g.backoff.delay(attempt, g.random.random(), error.retry_after), shut)
        if last:
            left = since + g.patience - g.clock.monotonic()
            if left <= 0 or isinstance(error, IdentityRefused):
                raise error
            delay = min(delay, left)
        record = Record("store.retry", store=self.name, operation=operation, error=error.kind, delay=delay)
        g.observer.on(replace(record, message=error.message, hint=error.hint) if last else record)
        return delay

    async def _try(
        self, operation: str, side: str, key: str, size: int, call: Callable[[], Awaitable[T]], timeout: float
    ) -> T:
        g = self.guards
        if (wait := g.breaker.admits()) > 0:
            raise StoreUnavailable("its circuit breaker is open", where=self.name, retry_after=wait)
        waited = await g.requests.take(1) + await g.bytes.take(size)
        if waited:
            g.observer.on(Record("limiter.waited", store=self.name, duration=waited))
        began, error, request = g.clock.monotonic(), "", object()
        self._due[request] = began + timeout - g.timeout
        try:
            async with asyncio.timeout(timeout):
                answer = await call()
            self._answered(side)
            size = len(answer.data) if isinstance(answer, ObjectData) else size
            return answer
        except TimeoutError as late:
            error = StoreTimeout().kind
            self._failed(side, None)
            raise StoreTimeout(f"no answer within {timeout:g} s", where=f"{self.name} {key}") from late
        except SkyferryError as problem:
            error = problem.kind
            if problem.outage and not problem.local:
                self._failed(side, problem.retry_after)
            elif not problem.outage:
                self._answered(side)
            raise
        finally:
            del self._due[request]
            duration = g.clock.monotonic() - began
            g.observer.on(
                Record(
                    "store.request", store=self.name, operation=operation, duration=duration, bytes=size, error=error
                )
            )

    def _answered(self, side: str) -> None:
        before = self.guards.breaker.state
        self.guards.breaker.answered(side)
        self._tell(before)

    def _failed(self, side: str, retry_after: float | None) -> None:
        before = self.guards.breaker.state
        self.guards.breaker.failed(side, retry_after)
        self._tell(before)

    def _tell(self, before: str) -> None:
        if self.guards.breaker.state != before:
            self.guards.observer.on(Record("breaker.changed", store=self.name, reason=self.guards.breaker.state))
