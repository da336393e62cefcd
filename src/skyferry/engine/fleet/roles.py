"""Roles: work that one worker of a fleet does for all. It is done only while the lease on the role lasts.

The lease ends by the monotonic clock of this worker, so a worker that is cut off from the ledger, or was stopped, ends its
work before another begins. Work under a role is nevertheless safe when two workers do it for a moment: pruning deletes what is
old in any case, dead letters have leases of their own, a scan sends events that may be sent twice, and a gauge that two
workers export has the same value.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

from skyferry.engine.consume.attempt import Lease
from skyferry.errors import Fenced
from skyferry.ports import Clock

HOUSEKEEPING = "housekeeping"  # prune the ledger, find transfers whose route or message is gone, abort uploads
DEAD_LETTERS = "dead-letters"  # publish dead letters
DELETES = "deletes"  # send approved deletes
GAUGES = "gauges"  # export the gauges of the ledger
QUEUES = "queues"  # export the depths of the same queues
SCAN = "scan"  # watch and list a folder
NOT_RENEWED = "the ledger did not renew its lease in time"
Confirm = Callable[[], Awaitable[None]]  # see `Role.confirm`


class HousekeepingTask(Protocol):
    """Repeated work under the role of housekeeping. It may be done twice."""

    name: str

    async def run(self, confirm: Confirm) -> None:
        """Work until cancelled. Call `confirm` before each step."""


async def allow() -> None:
    """Confirm work that needs no role."""


def digest_facts(*facts: str) -> str:
    """Return a short digest, by which workers with the same facts are known."""
    return hashlib.blake2b("\0".join(facts).encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()


def name_role(kind: str, subject: str, *facts: str) -> str:
    """Return the name of a role that only workers with the same facts share, such as their machine."""
    digest = digest_facts(*facts)
    return f"{kind}:{subject}@{digest}" if subject else f"{kind}@{digest}"


class Role:
    """The lease on one role, and the work under it."""

    def __init__(
        self, name: str, clock: Clock, on_loss: Callable[[str, str], None], *, finds_events: bool = False
    ) -> None:
        """`on_loss` is called with the name and the reason. `finds_events`: the work is that of an `EventSource`."""
        self.name, self.finds_events = name, finds_events
        self._on_loss = on_loss
        self.waived = False  # the work is done without the lease
        self.answered = False  # the ledger has said which worker has it
        self._monotonic = clock.monotonic
        self._lease = Lease(clock.monotonic(), clock.monotonic)
        self._granted, self._ended = asyncio.Event(), asyncio.Event()
        self._ended.set()

    @property
    def is_held(self) -> bool:
        """True while this worker may do the work."""
        return self.waived or self._lease.is_held

    @property
    def left(self) -> float:
        """The seconds until the end of the lease; 0 or less after it."""
        return self._lease.left

    def waive(self) -> None:
        """Do the work without the lease from now on: this process works for itself."""
        self.waived = True
        self._granted.set()

    def grant(self, ends: float) -> bool:
        """Take the answer of the ledger that this worker has the role until `ends` (monotonic). Return True if it is new."""
        if self._lease.is_held:
            self._lease.renew(ends)
            return False
        self._lease.abort_if_ended()
        self._lease = Lease(ends, self._monotonic)
        self._granted.set()
        return True

    def withdraw(self, why: str = "") -> None:
        """End the lease if there is one, and abort the work. "" = this worker gives the role back."""
        self._lease.ends = min(self._lease.ends, self._monotonic())
        self._lease.abort_if_ended()
        if self._granted.is_set() and not self.waived:
            self._granted.clear()
            if why:
                self._on_loss(self.name, why)

    def abort_if_ended(self) -> None:
        """Abort the work if the lease has ended."""
        if not self.is_held:
            self.withdraw(NOT_RENEWED)

    async def confirm(self) -> None:
        """Return if the lease lasts. Otherwise abort the work, which calls this before each step that has an effect.

        A process that was stopped for a while must not go on where it was.
        """
        if not self.is_held:
            self.withdraw(NOT_RENEWED)
            await asyncio.get_running_loop().create_future()  # until the abort

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work` whenever this worker has the role, until cancelled. It begins anew after each loss."""
        while True:
            await self._granted.wait()
            if self.waived:
                return await work()
            self._ended.clear()
            lease = self._lease
            try:
                with suppress(Fenced), lease:
                    await work()
            finally:
                self._ended.set()
            if self._lease is lease:  # it may have been granted anew while the work ended
                self.withdraw(NOT_RENEWED)

    async def wait_ended(self) -> None:
        """Return once no work is under way."""
        await self._ended.wait()


def find_held(roles: Sequence[Role]) -> dict[str, bool]:
    """Return True for each role that this worker has, False for each that it asked for and did not get."""
    return {role.name: role.is_held for role in roles if role.answered and not role.waived}
