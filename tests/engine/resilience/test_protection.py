"""Uploads that are gone on with and copies by the provider pass through the guards like everything else."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from skyferry.engine.resilience.circuit_breaker import Breaker, BreakerPolicy
from skyferry.engine.resilience.protection import Protection, protect_store
from skyferry.engine.resilience.retrying import RequestPolicy, RetryingStore
from skyferry.errors import (
    BucketNotFound,
    ConnectionLost,
    IdentityRefused,
    ObjectNotFound,
    OutOfResources,
    PreconditionFailed,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
    Throttled,
)
from skyferry.model import Attributes, Checksums, ObjectMeta, Upload
from skyferry.ports import ObjectStore
from skyferry.ports.listing import Pages
from skyferry.ports.listing import paged as paged_listing
from skyferry.records import Record
from skyferry.retry import Backoff
from skyferry.stores.memory import MemoryProvider, MemoryStore
from skyferry.testing.clock import ManualClock

AT_ONCE = RequestPolicy(backoff=Backoff(0.0, 0.0))


class Trace:
    """Remembers operations, and whether they failed."""

    def __init__(self) -> None:
        self.reported: list[tuple[str, str]] = []

    def on(self, record: Record) -> None:
        if record.event == "store.request":
            self.reported.append((record.operation, record.error))
        elif record.event == "store.disordered":
            self.reported.append((record.event, record.key))


class Shaky(MemoryStore):
    """Fails the first time that something is asked."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.asked: set[str] = set()

    def _once(self, name: str) -> None:
        if name not in self.asked:
            self.asked.add(name)
            raise ConnectionLost

    async def uploaded_parts(self, *args: Any) -> Any:
        self._once("uploaded_parts")
        return await super().uploaded_parts(*args)

    async def copy_part(self, *args: Any) -> Any:
        self._once("copy_part")
        return await super().copy_part(*args)

    async def copy_from(self, *args: Any) -> Any:
        self._once("copy_from")
        return await super().copy_from(*args)


async def test_requests_of_uploads_and_copies_are_retried_and_reported() -> None:
    """Once each, and then they work; the copy source and the traits are those of the store inside."""
    clock, trace = ManualClock(), Trace()
    store = Shaky("d", clock, None, MemoryProvider())
    breaker = Breaker(BreakerPolicy(failures=2), clock)
    guarded = protect_store(store, Protection(breaker, clock, trace, random.Random(1), AT_ONCE))
    assert (guarded.copy_source, guarded.traits) == (store.copy_source, store.traits)
    assert store.copy_source is not None
    found = await store.write("k", b"x" * 25, Attributes(), Checksums())
    upload = await guarded.start_upload("new", 25, 10, Attributes())
    parts = [await guarded.copy_part(upload, n, store.copy_source, found) for n in (1, 2, 3)]
    assert await guarded.uploaded_parts(upload) == parts
    assert [u.id async for u in guarded.uploads("n")] == [upload.id]
    await guarded.finish_upload(upload, parts, found.checksums)
    await guarded.copy_from(store.copy_source, found, "other", Attributes())
    failed = [operation for operation, error in trace.reported if error]
    assert failed == ["copy_part", "uploaded_parts", "copy_from"]
    breaker.record_outage("write", "a", None)
    breaker.record_outage("write", "b", None)
    with pytest.raises(StoreUnavailable):
        await guarded.copy_from(store.copy_source, found, "third", Attributes())


async def test_an_error_is_freed_at_once() -> None:
    """A worker looks for each new object at the destination; a garbage collection stops all transfers meanwhile."""
    clock = ManualClock()
    guarded = protect_store(
        MemoryStore("d", clock), Protection(Breaker(BreakerPolicy(), clock), clock, Trace(), random.Random(1), AT_ONCE)
    )
    gc.disable()
    try:
        assert (await _find_error(guarded))() is None
    finally:
        gc.enable()


async def _find_error(store: ObjectStore) -> weakref.ref[ObjectNotFound]:
    try:
        await store.head("absent")
    except ObjectNotFound as error:
        return weakref.ref(error)
    raise AssertionError


class Exhausted(MemoryStore):
    """Its process has no file descriptor left."""

    async def head(self, key: str) -> Any:
        raise OutOfResources


async def test_what_this_process_lacks_opens_no_breaker() -> None:
    """Nor does it count as an answer of the store."""
    clock = ManualClock()
    breaker = Breaker(BreakerPolicy(failures=1), clock)
    protection = Protection(breaker, clock, Trace(), random.Random(1), AT_ONCE)
    with pytest.raises(OutOfResources):
        await protect_store(Exhausted("d", clock), protection).head("k")
    assert breaker.time_open() == 0.0
    assert not breaker.has_answered("read", 0.0)


class Refusing(MemoryStore):
    """Fails once; then its client has sent the request so often that it is refused."""

    def __init__(self, sent: int, *args: Any) -> None:
        super().__init__(*args)
        self.sent = sent

    async def write(self, *args: Any) -> Any:
        if self.sent == 0:
            self.sent = 1
            raise ConnectionLost
        refused = PreconditionFailed()
        refused.tries = self.sent
        raise refused


@pytest.mark.parametrize(("sent", "tries"), [(0, 2), (1, 1), (2, 2)])
async def test_a_refusal_tells_if_the_write_was_tried_before(sent: int, tries: int) -> None:
    """By the decorator, or by the client of the store."""
    clock = ManualClock()
    protection = Protection(Breaker(BreakerPolicy(), clock), clock, Trace(), random.Random(1), AT_ONCE)
    with pytest.raises(PreconditionFailed) as refused:
        await protect_store(Refusing(sent, "d", clock), protection).write("k", b"", Attributes(), Checksums())
    assert refused.value.tries == tries


class Slow(MemoryStore):
    """Takes longer than a request may that carries nothing."""

    async def read(self, *args: Any, **more: Any) -> Any:
        await asyncio.sleep(0.05)
        return await super().read(*args, **more)

    async def write(self, *args: Any) -> Any:
        await asyncio.sleep(0.05)
        return await super().write(*args)

    async def write_part(self, *args: Any) -> Any:
        await asyncio.sleep(0.05)
        return await super().write_part(*args)

    async def finish_upload(self, *args: Any) -> Any:
        await asyncio.sleep(0.05)
        return await super().finish_upload(*args)


async def test_a_request_may_take_longer_the_more_it_carries() -> None:
    """Else a line that is slow, or shared by many parts, would never carry any of them to its end."""
    clock, data = ManualClock(), bytes(2**20)
    store = Slow("d", clock, None, MemoryProvider())
    breaker, policy = Breaker(BreakerPolicy(), clock), RequestPolicy(timeout=0.01, tries=1)
    guarded = protect_store(store, Protection(breaker, clock, Trace(), random.Random(1), policy))
    with pytest.raises(StoreTimeout):
        await guarded.write("k", b"", Attributes(), Checksums())
    await guarded.write("k", data, Attributes(), Checksums())
    with pytest.raises(StoreTimeout):
        await guarded.read("k", 0, 1)
    assert (await guarded.read("k", 0, len(data))).data == data
    upload = await guarded.start_upload("new", len(data), len(data), Attributes())
    part = await guarded.write_part(upload, 1, data, "")
    assert (await guarded.finish_upload(upload, [part], Checksums())).size == len(data)


class Paged(MemoryStore):
    """Lists in an order of its own, and fails as planned: of each listing, after how many, and how."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.keys = ["b", "a", "d", "c"]
        self.plan: list[tuple[int, StoreError]] = []

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        until, error = self.plan.pop(0) if self.plan else (len(self.keys), None)
        for key in self.keys[:until]:
            yield ObjectMeta(key, 0, "1", 0.0)
        if error:
            raise error


def paged(
    *plan: tuple[int, StoreError],
    kind: type[Paged] = Paged,
    clock: ManualClock | None = None,
    trace: Trace | None = None,
) -> tuple[Paged, RetryingStore]:
    clock = clock or ManualClock()
    store = kind("d", clock, None, MemoryProvider())
    store.plan = list(plan)
    protection = Protection(Breaker(BreakerPolicy(), clock), clock, trace or Trace(), random.Random(1), AT_ONCE)
    return store, protect_store(store, protection)


class InPages(Paged):
    """The same in pages of two."""

    @paged_listing
    async def list(self, prefix: str = "", after: str = "") -> Pages[ObjectMeta]:
        until, error = self.plan.pop(0) if self.plan else (len(self.keys), None)
        for start in range(0, until, 2):
            yield [ObjectMeta(key, 0, "1", 0.0) for key in self.keys[start : min(start + 2, until)]]
        if error:
            raise error


@pytest.mark.parametrize("kind", [Paged, InPages])
async def test_a_listing_goes_on_after_what_passes(kind: type[Paged]) -> None:
    """Each once, whatever the order of the store; as long as it gets further it is tried again."""
    lost = ConnectionLost()
    _, guarded = paged((0, lost), (2, lost), (1, lost), (3, lost), (3, lost), (3, lost), kind=kind)
    assert [found.key async for found in guarded.list()] == ["b", "a", "d", "c"]


@pytest.mark.parametrize("error", [BucketNotFound(), ConnectionLost(), Throttled(retry_after=3600.0)])
async def test_a_listing_that_gets_no_further_ends_with_the_error(error: StoreError) -> None:
    _, guarded = paged(*[(2, error)] * 4)
    listing = guarded.list()
    assert [(await anext(listing)).key for _ in range(2)] == ["b", "a"]
    with pytest.raises(type(error)):
        await anext(listing)


async def test_a_listing_without_a_place_to_resume_ends_with_the_error() -> None:
    """The last listed object was deleted meanwhile."""
    store, guarded = paged((2, ConnectionLost()))
    listing = guarded.list()
    assert [(await anext(listing)).key for _ in range(2)] == ["b", "a"]
    store.keys.remove("a")
    with pytest.raises(ConnectionLost):
        await anext(listing)


class Waiting(Paged):
    """The same of uploads."""

    async def uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        until, error = self.plan.pop(0) if self.plan else (len(self.keys), None)
        for key in self.keys[:until]:
            yield Upload("1", key, 0, 0)
        self.keys.reverse()
        if error:
            raise error


async def test_a_listing_of_uploads_goes_on_after_what_passes() -> None:
    """Each once, also where they come in another order the next time."""
    lost = ConnectionLost()
    _, guarded = paged((0, lost), (2, lost), (3, lost), (2, lost), kind=Waiting)
    assert sorted([found.key async for found in guarded.uploads()]) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("error", [BucketNotFound(), ConnectionLost(), Throttled(retry_after=3600.0)])
async def test_a_listing_of_uploads_that_gets_no_further_ends_with_the_error(error: StoreError) -> None:
    _, guarded = paged(*[(0, error)] * 4, kind=Waiting)
    with pytest.raises(type(error)):
        await anext(guarded.uploads())


async def test_a_long_retry_after_is_not_waited_for_in_the_store() -> None:
    """The transfer is released meanwhile, and its memory with it."""
    store, guarded = paged()
    asked = 0

    async def head(key: str) -> ObjectMeta:
        nonlocal asked
        asked += 1
        raise Throttled(retry_after=61.0)

    store.head = head  # type: ignore[method-assign]  # the one verb that this is about
    with pytest.raises(Throttled):
        await guarded.head("key")
    assert asked == 1


@pytest.mark.parametrize("kind", [Paged, InPages])
async def test_a_listing_in_another_order_is_noticed_once_and_misses_nothing(kind: type[Paged]) -> None:
    """As that of SeaweedFS. A key that comes twice in a row is given once."""
    trace = Trace()
    store, guarded = paged(trace=trace, kind=kind)
    store.keys = ["a", "a/b", "a/b", "a-b", "b", "a0"]
    for _ in range(2):
        assert [found.key async for found in guarded.list()] == ["a", "a/b", "a-b", "b", "a0"]
    assert (guarded.traits.order, store.traits.order) == ("none", "bytes")
    assert trace.reported == [("store.disordered", "a-b")]


@pytest.mark.parametrize(
    ("promised", "keys", "left"),
    [
        ("bytes", ["a", "b", "\uff5e", "\U0001f600"], "bytes"),
        ("bytes", ["a", "\U0001f600", "\uff5e"], "plain"),
        ("plain", ["a", "\U0001f600", "\uff5e"], "plain"),
        ("plain", ["b", "a"], "none"),
        ("none", ["b", "a"], "none"),
    ],
)
async def test_what_a_listing_leaves_of_a_promise(promised: Any, keys: list[str], left: str) -> None:
    """UTF-16 sorts characters beyond U+FFFF before some others."""
    store, guarded = paged()
    store.keys, guarded.traits = keys, replace(store.traits, order=promised)
    assert [found.key async for found in guarded.list()] == keys
    assert guarded.traits.order == left


class Hurried(ManualClock):
    """Time passes as it is slept."""

    async def sleep(self, seconds: float) -> None:
        self._now += seconds


async def test_an_outage_is_waited_out_as_long_as_patience_says() -> None:
    """However many tries that takes, whatever the store asks for. A refused identity is not waited for."""
    clock = Hurried()
    plan = [(0, StoreUnavailable())] * 9 + [(2, Throttled(retry_after=100.0))] * 9
    store, guarded = paged(*plan, clock=clock)
    patient = guarded.with_patience(1000.0)
    assert [found.key async for found in patient.list()] == ["b", "a", "d", "c"]
    assert clock.monotonic() == 900.0
    store.plan = [(0, Throttled(retry_after=100.0))] * 9
    with pytest.raises(Throttled):
        await anext(guarded.with_patience(50.0).list())
    assert clock.monotonic() == 950.0
    store.plan = [(0, IdentityRefused())] * 9
    with pytest.raises(IdentityRefused):
        await anext(patient.list())
