"""A change at the destination that had no answer takes effect after its repetition."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from tests.engine.copy.test_multipart import SETTINGS
from tests.engine.lab import Lab

from skyferry.engine.resilience.circuit_breaker import LANDING, LateChanges
from skyferry.errors import ObjectNotFound, PreconditionFailed, StoreTimeout
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.model import Attributes, Change, Checksums, Claim, ObjectMeta
from skyferry.ports import ANY, Precondition, Wait
from skyferry.queues.memory import QueueState
from skyferry.stores.memory import MemoryStore
from skyferry.testing.clock import ManualClock

PROPAGATE = SETTINGS.model_copy(update={"routes": (SETTINGS.routes[0].model_copy(update={"deletes": "propagate"}),)})
LATE = LANDING - 1  # seconds after which a lost request takes effect


class Delaying(MemoryStore):
    """A destination that answers no request while `delays`, and carries it out later, when the test says."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.sent = True  # False: no request leaves while it delays
        self.hangs = False  # a delayed request waits for its answer until it is aborted
        self.delays, self.late = 0, list[Callable[[], Coroutine[Any, Any, object]]]()

    async def write(
        self, key: str, data: bytes, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        write = super().write
        await self._delay(lambda: write(key, data, attributes, checksums, when))
        return await write(key, data, attributes, checksums, when)

    async def delete(self, key: str, when: Precondition = ANY) -> None:
        delete = super().delete
        await self._delay(lambda: delete(key, when))
        await delete(key, when)

    async def _delay(self, change: Callable[[], Coroutine[Any, Any, object]]) -> None:
        if self.delays:
            self.delays -= 1
            self.late.append(change)
            if self.hangs:
                await asyncio.Event().wait()
            error = StoreTimeout()
            error.sent = self.sent
            raise error

    async def land(self) -> None:
        """Let the delayed requests take effect."""
        for change in self.late:
            with suppress(PreconditionFailed):
                await change()


class Late(Lab):
    """A world with such a destination."""

    def __init__(self) -> None:
        super().__init__(settings=PROPAGATE)
        self.destination = Delaying("destination", self.clock, self.bucket)

    async def content(self) -> bytes | None:
        """Return the content of the copy; None if there is no copy."""
        try:
            return bytes((await self.destination.read("k", 0, 100)).data)
        except ObjectNotFound:
            return None

    async def copied(self, data: bytes) -> None:
        """Write and announce a version, and wait for its copy."""
        await self.put("k", data)
        await self.send("k")
        await self.wait_for(data)

    async def wait_for(self, data: bytes | None) -> None:
        """Wait until the copy has this content."""
        for _ in range(1000):
            if await self.content() == data:
                return
            await self.clock.advance(0.1)
        raise AssertionError(f"the copy is {await self.content()!r}")

    async def settle(self) -> None:
        """Let the delayed requests take effect, and wait until the queue is empty."""
        await self.clock.advance(LATE)
        await self.destination.land()
        for _ in range(100):
            if not await self.left():
                return
            await self.clock.advance(1)
        raise AssertionError("messages are left")


@pytest.fixture
async def lab() -> Late:
    """A world whose destination delays what the test says."""
    return Late()


async def remove(lab: Late) -> None:
    """Delete at the source, and announce it."""
    await lab.source.delete("k")
    await lab.send("k", change=Change.DELETED)


async def check_delete(lab: Late) -> None:
    """Delete at the source, and check that no copy is left in the end."""
    await remove(lab)
    await lab.settle()
    assert await lab.content() is None


async def test_delete_waits_until_an_unanswered_write_cannot_take_effect(lab: Late) -> None:
    """The write was repeated, so its copy was there to be deleted; then the first try would have brought it back."""
    lab.destination.delays = 1
    async with lab.running(lab.worker()):
        await lab.copied(b"1")
        await check_delete(lab)


async def test_another_worker_waits_as_well(lab: Late) -> None:
    """The lease of the key is not released, also not by a clean stop, so all workers of the ledger wait."""
    lab.destination.delays, ledger = 1, lab.ledger()
    async with lab.running(lab.worker(ledger)):
        await lab.copied(b"1")
    await ledger.close()
    async with lab.running(lab.worker()):
        await check_delete(lab)


async def test_another_worker_waits_for_a_write_that_a_clean_stop_aborted(lab: Late) -> None:
    """The store may have received it whole."""
    lab.destination.delays, lab.destination.hangs, ledger = 1, True, lab.ledger()
    async with lab.running(lab.worker(ledger)):
        await lab.put("k", b"1")
        await lab.send("k")
        await lab.until(lambda: len(lab.destination.late) == 1)
    await ledger.close()
    async with lab.running(lab.worker()):
        await check_delete(lab)


async def test_clean_stop_frees_other_keys(lab: Late) -> None:
    """Also one of which a change had no answer, once it can no longer take effect."""
    lab.destination.delays, ledger = 1, lab.ledger()
    async with lab.running(lab.worker(ledger)):
        await lab.copied(b"1")
        await lab.clock.advance(LANDING + 1)
    await ledger.close()
    assert not lab.ledger_state.leases


async def test_absence_is_no_reason_to_skip_a_delete(lab: Late) -> None:
    """All tries of the write had no answer, and nothing is there when the delete comes."""
    lab.destination.delays = 4
    async with lab.running(lab.worker()):
        await lab.put("k", b"1")
        await lab.send("k")
        await lab.until(lambda: len(lab.destination.late) == 4)
        await check_delete(lab)


@pytest.mark.parametrize("exact", [True, False], ids=["preconditions", "none"])
async def test_newer_version_waits_only_without_preconditions(lab: Late, exact: bool) -> None:
    lab.destination.traits = replace(lab.destination.traits, create_only=exact, replace_exact=exact, delete_exact=exact)
    lab.destination.delays = 1
    async with lab.running(lab.worker()):
        await lab.copied(b"1")
        before = lab.clock.monotonic()
        await lab.put("k", b"2")
        await lab.send("k")
        if exact:
            await lab.wait_for(b"2")
            assert lab.clock.monotonic() < before + 1
        await lab.settle()
        assert await lab.content() == b"2"


async def test_request_that_was_not_sent_delays_nothing(lab: Late) -> None:
    lab.destination.traits = replace(lab.destination.traits, create_only=False, replace_exact=False)
    lab.destination.delays, lab.destination.sent = 4, False
    async with lab.running(lab.worker()):
        began = lab.clock.monotonic()
        await lab.copied(b"1")
        assert lab.clock.monotonic() < began + LANDING / 2


async def test_copy_waits_until_an_unanswered_delete_cannot_take_effect(lab: Late) -> None:
    lab.destination.traits = replace(lab.destination.traits, delete_exact=False)
    async with lab.running(lab.worker()):
        await lab.copied(b"1")
        lab.destination.delays = 1
        await remove(lab)
        await lab.wait_for(None)
        await lab.put("k", b"2")
        await lab.send("k")
        await lab.settle()
        assert await lab.content() == b"2"


async def test_key_is_kept_for_longer_than_a_lease(lab: Late) -> None:
    """Its lease is renewed until the change without an answer can no longer take effect; then the key is free."""
    lease = LANDING / 4
    other = MemoryLedger("other", lab.clock, lease, lab.ledger_state)
    lab.destination.delays = 1
    async with lab.running(lab.worker(MemoryLedger("one", lab.clock, lease, lab.ledger_state))):
        await lab.copied(b"1")
        for _ in range(int(LANDING) - 1):
            await lab.clock.advance(1)
            (answer,) = await other.claim(lab.routes.match(lab.event("k")))
            assert isinstance(answer, Wait)
        await lab.clock.advance(2)
        (answer,) = await other.claim(lab.routes.match(lab.event("k")))
        assert isinstance(answer, Claim)
        assert not answer.taken_over


async def test_workers_do_not_take_a_key_from_each_other_again_and_again(lab: Late) -> None:
    """A worker that waits renews a lease that is shorter than the wait, or the next one would begin to wait as well."""
    lease = LANDING / 4
    async with lab.running(lab.worker()):
        await lab.copied(b"1")
    await MemoryLedger("dead", lab.clock, lease, lab.ledger_state).claim(lab.routes.match(lab.event("k")))
    await lab.source.delete("k")
    workers = []
    for name in ("one", "two"):
        lab.queue_state = QueueState()
        await lab.send("k", change=Change.DELETED)
        workers.append(lab.worker(MemoryLedger(name, lab.clock, lease, lab.ledger_state)))
    async with lab.running(*workers):
        await lab.clock.advance(lease + LANDING - 1)
        assert await lab.content() == b"1"
        await lab.clock.advance(1 + LANDING)
        assert all(worker.idle for worker in workers)
        assert await lab.content() is None


async def test_late_changes_are_forgotten() -> None:
    clock = ManualClock()
    late = LateChanges(clock)
    late.record("a")
    await clock.advance(LANDING / 2)
    late.record("b")
    assert (late.time_left("a"), late.time_left("b"), late.time_left("c")) == (LANDING / 2, LANDING, 0)
    await clock.advance(LANDING / 2)
    assert late.time_left("a") == 0
    late.record("a")
    assert (late.time_left("a"), late.time_left("b")) == (LANDING, LANDING / 2)
    assert list(late._ends) == ["b", "a"]  # in the order of their ends: what has ended is found first
