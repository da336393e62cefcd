"""Small work in one thread: flushed where it says so, and never stuck behind what sticks."""

from __future__ import annotations

import asyncio
import errno
import os
import queue
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skyferry.errors import StoreUnavailable
from skyferry.stores.local.io_thread import HELPERS, STEPS, Lane, Steps, stepless, through
from skyferry.stores.local.store import LocalStore
from skyferry.stores.local.threads import Threads


@pytest.fixture
async def lane() -> AsyncIterator[Lane]:
    made = Lane("test")
    async with asyncio.timeout(30):
        yield made
        await made.close()


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The file descriptors, in order; those that are negative cannot be."""
    seen: list[int] = []

    def fsync(file: int) -> None:
        seen.append(file)
        if file < 0:
            raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(os, "fsync", fsync)
    return seen


def twice(*files: int) -> Steps[list[str]]:
    """Flush these, and tell how it went."""
    told = []
    for file in files:
        try:
            yield file
        except OSError as error:
            told.append(error.strerror or "")
        else:
            told.append("flushed")
    return told


async def test_steps_go_on_when_what_they_wait_for_is_flushed(lane: Lane, flushed: list[int]) -> None:
    assert await lane.run(twice(7, -1, 8)) == ["flushed", "the disk is broken", "flushed"]
    assert flushed == [7, -1, 8]


def test_they_may_be_done_at_once(flushed: list[int]) -> None:
    assert through(twice(7, -1, 8)) == ["flushed", "the disk is broken", "flushed"]
    assert flushed == [7, -1, 8]


async def test_a_flush_that_fails_fails_what_waits_for_it(lane: Lane, flushed: list[int]) -> None:
    def steps() -> Steps[None]:
        yield -1

    with pytest.raises(OSError, match="broken"):
        await lane.run(steps())


async def test_what_is_short_is_done_by_one_thread(lane: Lane) -> None:
    names = await asyncio.gather(*(lane.run(stepless(lambda: threading.current_thread().name)()) for _ in range(100)))
    assert set(names) == {"test"}


async def test_others_go_on_beside_what_sticks(lane: Lane) -> None:
    """As many as there are threads may stick: the one after them still comes."""
    go_on = threading.Event()
    stuck = [asyncio.create_task(lane.run(stepless(go_on.wait)(30))) for _ in range(HELPERS)]
    await lane.run(stepless(go_on.set)())
    assert await asyncio.gather(*stuck) == [True] * HELPERS


async def test_what_is_cancelled_before_it_begins_does_not_run(lane: Lane) -> None:
    go_on, done = threading.Event(), list[int]()
    stuck = [asyncio.create_task(lane.run(stepless(go_on.wait)(30))) for _ in range(HELPERS + 1)]
    late = asyncio.create_task(lane.run(stepless(done.append)(1)))
    await asyncio.sleep(0)
    late.cancel()
    await asyncio.wait([late])
    go_on.set()
    await asyncio.gather(*stuck)
    await lane.close()
    assert done == []


async def test_what_is_cancelled_after_that_is_finished_before_the_end(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushing, go_on, done = asyncio.Event(), threading.Event(), list[int]()
    loop = asyncio.get_running_loop()

    def slow(file: int) -> None:
        loop.call_soon_threadsafe(flushing.set)
        assert go_on.wait(30)

    def steps() -> Steps[None]:
        yield 1
        done.append(1)

    monkeypatch.setattr(os, "fsync", slow)
    running = asyncio.create_task(lane.run(steps()))
    await flushing.wait()
    running.cancel()
    await asyncio.wait([running])
    go_on.set()
    await lane.close()
    assert done == [1]


async def test_what_fails_says_so(lane: Lane) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        await lane.run(stepless(int)("no"))


async def test_a_closed_store_refuses(tmp_path: Path) -> None:
    store = LocalStore("s", tmp_path)
    await store.close()
    for call in (store.head("k"), store.read("k", 0, 2**20), store.delete("k")):
        with pytest.raises(StoreUnavailable, match="closed"):
            await call


async def test_one_flush_of_a_folder_serves_all_that_have_changed_it_before(
    lane: Lane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not those that change it while the flush is in progress: what they have done may have missed it."""
    flushing, go_on, order = asyncio.Event(), threading.Event(), list[str]()
    loop = asyncio.get_running_loop()

    def slow(file: int) -> None:
        order.append("flush begins")
        loop.call_soon_threadsafe(flushing.set)
        assert go_on.wait(30)
        order.append("flush ends")

    def steps(name: str) -> Steps[None]:
        file = os.open(tmp_path, os.O_RDONLY)  # each has its own descriptor
        try:
            order.append(f"{name} changes")
            yield file
            order.append(f"{name} is done")
        finally:
            os.close(file)

    monkeypatch.setattr(os, "fsync", slow)
    monkeypatch.setattr("skyferry.stores.local.flushing.FLUSHERS", 1)
    first = asyncio.create_task(lane.run(steps("1")))
    await flushing.wait()
    later = [asyncio.create_task(lane.run(steps(name))) for name in "23"]
    while sum(len(waiting) for _, waiting in lane._flushes._requested.values()) < 2:
        await asyncio.sleep(0.001)
    go_on.set()
    await asyncio.gather(first, *later)
    begins = [at for at, what in enumerate(order) if what == "flush begins"]
    assert len(begins) == 2, "one for the first, one for the two after it"
    for name in "23":
        assert order.index(f"{name} changes") < begins[1] < order.index(f"{name} is done")
    assert order.index("1 is done") > order.index("flush ends")


async def test_a_store_has_only_the_threads_that_it_needs(tmp_path: Path) -> None:
    """A source that is listed and read flushes nothing."""
    (tmp_path / "a").write_bytes(b"data")
    store = LocalStore("sparse", tmp_path)

    assert [meta.key async for meta in store.list()] == ["a"]
    assert (await store.read("a", 0, 4)).data == b"data"

    names = {thread.name for thread in threading.enumerate() if thread.name.startswith("store-sparse")}
    await store.close()
    assert names == {"store-sparse"}


async def test_concurrent_calls_have_a_thread_each() -> None:
    """Up to the number of threads; each waits for all of them."""
    threads, together = Threads("many", 4), threading.Barrier(4)

    await asyncio.wait_for(asyncio.gather(*(threads.run(together.wait) for _ in range(4))), 30)

    names = {thread.name for thread in threading.enumerate() if thread.name.startswith("many-")}
    await threads.close()
    assert names == {f"many-{n}" for n in range(4)}


async def test_a_step_that_hangs_does_not_stop_the_event_loop(lane: Lane) -> None:
    """Only the event loop ends it. Further steps do not make the event loop wait again for the thread that hangs."""
    go_on = threading.Event()
    stuck = [asyncio.create_task(lane.run(stepless(go_on.wait)(30))) for _ in range(HELPERS + 2)]
    for _ in range(3):
        await asyncio.sleep(0.001)
    go_on.set()
    assert await asyncio.gather(*stuck) == [True] * (HELPERS + 2)


async def test_after_a_step_that_hung_the_event_loop_waits_again(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise both want the interpreter's lock, and each system call passes it on."""
    monkeypatch.setattr("skyferry.stores.local.io_thread.PAUSES", (0.0, 0.0))
    lane._pause = 0.0
    go_on = threading.Event()
    stuck = asyncio.create_task(lane.run(stepless(go_on.wait)(30)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # the turn has begun, and waited in vain
    go_on.set()
    assert await stuck

    assert await lane.run(stepless(lambda: True)())  # so the thread has continued
    assert await lane.run(stepless(lambda: lane._waits)())


async def test_pauses_double_while_the_disk_stays_slow(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a disk that is slow for good takes a small share of the event loop's time."""
    monkeypatch.setattr("skyferry.stores.local.io_thread.LONGEST_TURN", 0.0)
    pauses = []
    for _ in range(6):
        assert not lane._wait(lambda: 100.0)
        pauses.append(round(lane._slow_until - 100, 3))
    assert pauses == [0.02, 0.04, 0.08, 0.16, 0.2, 0.2]

    lane._ended.put(None)
    assert lane._wait(lambda: 100.0)
    assert not lane._wait(lambda: 100.0)
    assert lane._slow_until == 100.02


async def test_the_event_loop_waits_on_while_there_are_enough_steps(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the machine is busy, and not the disk slow."""

    class Ended(queue.SimpleQueue[None]):
        """The wait for the end takes too long once, with so many steps meanwhile."""

        steps = STEPS

        def get(self, block: bool = True, timeout: float | None = None) -> None:
            if timeout is None:  # the look for an earlier end
                return super().get(block)
            lane._begun += self.steps
            monkeypatch.setattr(lane, "_ended", last)
            raise queue.Empty

    last = lane._ended
    last.put(None)
    lane._ended = Ended()
    assert lane._wait(lambda: 0.0)

    lane._ended = Ended()
    lane._ended.steps = STEPS - 1
    assert not lane._wait(lambda: 0.0)


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Steps and flushes in order, on a disk that is never slow."""
    seen: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda file: seen.append("flush"))
    monkeypatch.setattr("skyferry.stores.local.io_thread.LONGEST_TURN", 30)
    return seen


def write(order: list[str], file: int) -> Steps[None]:
    order.append("step")
    yield file


async def test_steps_of_one_iteration_of_the_event_loop_are_flushed_together(lane: Lane, order: list[str]) -> None:
    """The event loop waits until all have asked for their flush, and none begins before."""
    await asyncio.gather(*(lane.run(write(order, file)) for file in (-1, -2, -3)))
    assert order == ["step"] * 3 + ["flush"] * 3


async def test_steps_that_follow_at_once_join_the_flush(lane: Lane, order: list[str]) -> None:
    """A larger group costs less, and while the event loop has work for the thread, a flush can wait for it."""

    async def read_and_write() -> None:
        await lane.run(stepless(lambda: None)())
        await lane.run(write(order, -2))

    await asyncio.gather(lane.run(write(order, -1)), read_and_write())
    assert order == ["step", "step", "flush", "flush"]


async def test_a_turn_for_which_nothing_is_left_begins_the_flush(
    lane: Lane, order: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread may schedule a turn after the turn before has taken what it is for. A flush that waits for it begins then."""
    flush, turns = lane._flush, [asyncio.get_running_loop().call_soon]

    def flush_after_a_late_thread() -> None:
        if turns:
            lane._schedule(turns.pop())
        flush()

    monkeypatch.setattr(lane, "_flush", flush_after_a_late_thread)
    await asyncio.wait_for(lane.run(write(order, -1)), 30)
    assert order == ["step", "flush"]
