"""Retry requests to a store within one attempt."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import field, replace
from operator import lt
from typing import Any, TypeVar

from skyferry.engine.resilience.circuit_breaker import Breaker
from skyferry.errors import Disposition, IdentityRefused, SkyferryError, StoreError
from skyferry.frozen import dataclass
from skyferry.model import UNPLAIN, ObjectMeta
from skyferry.ports import Clock, ObjectData, ObjectStore, Observer, Upload
from skyferry.ports.decorators import READ, Operation, StoreDecorator
from skyferry.ports.listing import Pages, paged, read_pages
from skyferry.records import Record
from skyferry.retry import Backoff

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RequestPolicy:
    """The time limit and the retries of one request."""

    timeout: float = 60.0  # seconds for one try; a request that carries data gets more
    tries: int = 4
    backoff: Backoff = field(default_factory=lambda: Backoff(0.1, 2.0))
    patience: float = 0.0  # seconds, from the first failure, for which an outage is retried beyond `tries`


@dataclass(slots=True)
class _Failures:
    """Consecutive failures of one listing."""

    count: int = 0
    since: float = 0.0  # when the first happened, monotonic seconds


class RetryingStore(StoreDecorator):
    """Retries requests and resumes listings after transient failures."""

    def __init__(
        self,
        inner: ObjectStore,
        breaker: Breaker,
        clock: Clock,
        observer: Observer,
        random: random.Random,
        policy: RequestPolicy,
    ) -> None:
        super().__init__(inner)
        self._breaker, self._clock, self._observer, self._random = breaker, clock, observer, random
        self.policy = policy

    def with_patience(self, seconds: float) -> RetryingStore:
        """Return the same store with another `RequestPolicy.patience`."""
        policy = replace(self.policy, patience=seconds)
        return RetryingStore(self.inner, self._breaker, self._clock, self._observer, self._random, policy)

    def read(self, key: str, start: int, length: int, *, version: str = "") -> Coroutine[Any, Any, ObjectData]:
        return self._request(READ, key, length, self._read_rest, [], key, start, length, version)

    async def _read_rest(self, received: list[bytes], key: str, start: int, length: int, version: str) -> ObjectData:
        """Read what is missing of the range. `received` keeps what broken tries have given of the same version."""
        begin = start + sum(map(len, received))
        try:
            got = await self.inner.read(key, begin, start + length - begin, version=version)
        except StoreError as broken:
            if version and broken.partial:
                received.append(broken.partial)
            raise
        return replace(got, data=b"".join((*received, got.data))) if received else got

    async def uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        """After a transient failure, start again without the uploads already given: their order may have changed."""
        given: set[tuple[str, str]] = set()
        failures = _Failures()
        while True:
            try:
                async for upload in self.inner.uploads(prefix):
                    if (upload.key, upload.id) not in given:
                        given.add((upload.key, upload.id))
                        failures.count = 0
                        yield upload
                return
            except SkyferryError as error:
                if (delay := self._delay_listing("uploads", error, failures)) is None:
                    raise
            await self._clock.sleep(delay)

    @paged
    async def list(self, prefix: str = "", after: str = "") -> Pages[ObjectMeta]:
        """After a transient failure, start again and skip to the last key given: not every service sorts as `after` needs.

        A key out of order lowers `traits.order`, which is reported once.
        """
        last, failures = "", _Failures()
        failed: SkyferryError | None = None
        while True:
            skipping = bool(last)
            try:
                async for page in read_pages(self.inner.list(prefix, after)):
                    if skipping:
                        keys = [found.key for found in page]
                        if last not in keys:
                            continue
                        skipping, page = False, page[keys.index(last) + 1 :]
                    if fresh := self._check_order(last, page):
                        last, failures.count = fresh[-1].key, 0
                        yield fresh
            except SkyferryError as error:
                if (delay := self._delay_listing("list", error, failures)) is None:
                    raise
                failed = error
            else:
                if skipping and failed:  # the last key was deleted meanwhile, so the place to resume at is unknown
                    raise failed
                return
            await self._clock.sleep(delay)

    def _check_order(self, last: str, page: Sequence[ObjectMeta]) -> Sequence[ObjectMeta]:
        """Return the objects behind the key `last` that do not repeat the one before."""
        keys = [found.key for found in page]
        if all(map(lt, (last, *keys), keys)):
            return page
        fresh = list[ObjectMeta]()
        for found in page:
            if found.key != last:
                if found.key < last:
                    self._lower_order(last, found.key)
                fresh.append(found)
                last = found.key
        return fresh

    def _lower_order(self, before: str, key: str) -> None:
        """Lower the promised order of listings. A caller that merges listings reads the trait again."""
        plain = not UNPLAIN.search(before + key)
        if self.traits.order == "none" or (self.traits.order == "plain" and not plain):
            return
        self.traits = replace(self.traits, order="none" if plain else "plain")
        message = f"the listing returned this key after {before}; listings of this store are no longer merged"
        self._observer.on(Record("store.disordered", store=self.name, key=key, message=message))

    async def _request(
        self, operation: Operation, key: str, size: int, call: Callable[..., Coroutine[Any, Any, T]], *args: Any
    ) -> T:
        since, attempt = self._clock.monotonic(), 0
        while True:
            attempt += 1
            try:
                return await call(*args)
            except SkyferryError as error:
                error.store, error.key, error.side, error.since = self.name, key, operation.side, since
                error.tries = max(error.tries, attempt)
                known = self._breaker.has_failed(key, since)
                delay = self._delay(operation.name, error, self.policy.tries if known else attempt, since, key)
                if delay is None:
                    raise
            await self._clock.sleep(delay)

    def _delay_listing(self, operation: str, error: SkyferryError, failures: _Failures) -> float | None:
        failures.count += 1
        if failures.count == 1:
            failures.since = self._clock.monotonic()
        return self._delay(operation, error, failures.count, failures.since)

    def _delay(self, operation: str, error: SkyferryError, attempt: int, since: float, key: str = "") -> float | None:
        """Return the seconds until the next try. None if no try is due soon, because memory is reserved meanwhile.

        The caller raises the error: from here, it and its traceback would refer to each other until a garbage collection.

        An object that failed in an earlier attempt gets one try, so that it does not ask a store more often than others.

        An outage that began at `since` (monotonic seconds) is retried for `patience` seconds; then the record has the reason.
        """
        policy = self.policy
        if error.disposition is not Disposition.RETRY or not error.outage:
            return None
        open_for = self._breaker.time_refused(key)
        last = attempt >= policy.tries or open_for > 0 or (error.retry_after or 0.0) > policy.timeout
        delay = max(policy.backoff.delay(attempt, self._random.random(), error.retry_after), open_for)
        if last:
            left = since + policy.patience - self._clock.monotonic()
            if left <= 0 or isinstance(error, IdentityRefused):
                return None
            delay = min(delay, left)
        record = Record("store.retry", store=self.name, operation=operation, error=error.kind, delay=delay)
        self._observer.on(replace(record, message=error.message, hint=error.hint) if last else record)
        return delay
