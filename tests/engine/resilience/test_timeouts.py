"""The time limit of a request ends it as `asyncio.timeout` would, in every order of timeout, cancellation and answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from skyferry.engine.resilience.timeouts import PendingRequests, TimeoutStore
from skyferry.errors import StoreTimeout
from skyferry.model import ObjectMeta, Part, Upload
from skyferry.stores.memory import MemoryStore
from skyferry.testing.clock import ManualClock

LIMIT = 0.02  # seconds


class Scripted(MemoryStore):
    """Answers a look, or a part, with a script."""

    def __init__(self, script: Callable[[], Awaitable[object]]) -> None:
        super().__init__("s", ManualClock())
        self._script = script

    async def head(self, key: str) -> ObjectMeta:
        await self._script()
        return ObjectMeta(key, 0, "", 0.0)

    async def write_part(self, upload: Upload, number: int, data: bytes, crc32c: str) -> Part:
        await self._script()
        return Part(number, 0, len(data), "")


def limit(script: Callable[[], Awaitable[object]], pending: PendingRequests | None = None) -> TimeoutStore:
    return TimeoutStore(Scripted(script), ManualClock(), LIMIT, pending or PendingRequests())


async def hang() -> None:
    await asyncio.Event().wait()


async def test_a_request_without_an_answer_ends_and_its_task_goes_on() -> None:
    pending = PendingRequests()
    with pytest.raises(StoreTimeout, match=r"no answer within 0\.02 s"):
        await limit(hang, pending).head("k")
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert pending.overdue(1e9) < 0  # nothing is pending


async def test_the_hint_for_a_slow_line_is_for_requests_with_data() -> None:
    with pytest.raises(StoreTimeout) as late:
        await limit(hang).head("k")
    assert late.value.hint == ""
    with pytest.raises(StoreTimeout, match="256 KiB/s") as late:
        await limit(hang).write_part(Upload("1", "k", 8, 8), 1, b"12345678", "")
    assert "raise `limits.request_timeout`" in late.value.hint


async def test_each_of_many_requests_has_its_own_limit() -> None:
    """The timer is set again for those that are not late."""
    store = limit(hang)

    async def begin(after: float) -> float:
        await asyncio.sleep(after)
        began = asyncio.get_running_loop().time()
        with pytest.raises(StoreTimeout):
            await store.head("k")
        return asyncio.get_running_loop().time() - began

    took = await asyncio.gather(*(begin(n * LIMIT / 4) for n in range(8)))
    assert min(took) >= LIMIT


async def test_the_slowest_request_is_overdue() -> None:
    pending = PendingRequests()
    assert pending.overdue(1e9) < 0  # there is none
    task = asyncio.create_task(limit(hang, pending).head("k"))
    await asyncio.sleep(0)
    assert pending.overdue(ManualClock().monotonic() + 3.0) == 3.0
    with pytest.raises(StoreTimeout):
        await task


async def test_a_request_that_does_not_end_stays_overdue() -> None:
    """A thread may hang in a call of the system, whatever its task does."""

    async def hang_on() -> None:
        with suppress(asyncio.CancelledError):
            await hang()
        cancelled.set()
        await released.wait()

    cancelled, released, pending = asyncio.Event(), asyncio.Event(), PendingRequests()
    task = asyncio.create_task(limit(hang_on, pending).head("k"))
    await cancelled.wait()
    assert pending.overdue(ManualClock().monotonic() + 3.0) == 3.0
    released.set()
    await task


async def test_a_timeout_inside_counts_as_one() -> None:
    async def expire() -> None:
        raise TimeoutError

    with pytest.raises(StoreTimeout):
        await limit(expire).head("k")


async def test_a_cancelled_request_is_cancelled_and_not_late() -> None:
    task = asyncio.create_task(limit(hang).head("k"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_together_with_the_timeout_wins() -> None:
    """The one who cancelled the task waits for its end, which an error would hide."""

    async def be_cancelled_late() -> None:
        try:
            await hang()
        except asyncio.CancelledError:
            assert task.cancelling() == 1  # by the time limit
            task.cancel()
            raise

    task = asyncio.create_task(limit(be_cancelled_late).head("k"))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_an_answer_at_the_last_moment_counts() -> None:
    """The task is no longer cancelled afterwards."""

    async def answer_late() -> None:
        try:
            await hang()
        except asyncio.CancelledError:
            return

    assert (await limit(answer_late).head("k")).key == "k"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_an_error_at_the_last_moment_counts() -> None:
    async def fail_late() -> None:
        try:
            await hang()
        except asyncio.CancelledError:
            raise ValueError("late") from None

    with pytest.raises(ValueError, match="late"):
        await limit(fail_late).head("k")
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_limit_around_the_store_is_not_taken_for_its_own() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(LIMIT / 4):
            await limit(hang).head("k")


def test_a_store_may_be_used_on_one_event_loop_after_another() -> None:
    store = limit(hang)

    async def look() -> None:
        with pytest.raises(StoreTimeout):
            await store.head("k")

    for _ in range(2):
        asyncio.run(look())


async def test_no_timer_stays_when_the_store_is_closed() -> None:
    async def answer() -> None:
        return None

    store = limit(answer)
    await store.head("k")
    assert timers() > 0
    await store.close()
    assert timers() == 0


def timers() -> int:
    loop = asyncio.get_running_loop()
    return sum(not timer.cancelled() for timer in getattr(loop, "_scheduled"))  # noqa: B009 - it is private
