"""The membership of a worker in its fleet: heartbeats, and the leases on its roles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from skyferry.clock import sleep_until_set
from skyferry.engine.consume.attempt import MARGIN, find_lease_end
from skyferry.engine.fleet.roles import Role
from skyferry.errors import LedgerError
from skyferry.ports import Clock, Heartbeat, Observer, Workers
from skyferry.records import Record

EVERY = 3.0  # seconds between heartbeats: a role that is given back waits no longer for its next holder
ROUNDS = 3  # heartbeats within a lease, at least
PRECISION = 0.001  # seconds by which the end of a lease may be noticed late
ENDING = 5.0  # seconds that work may take to end before its role is given back


class FleetMembership:
    """Sends heartbeats, and passes on which roles the ledger grants.

    One heartbeat, which is one statement, registers the worker, renews its roles, and asks for those that it lacks.
    """

    def __init__(self, ledger: Workers, clock: Clock, observer: Observer, *, alone: bool = False) -> None:
        """`alone`: the process is no member, such as a command. It does its work without roles."""
        self.roles: list[Role] = []
        self._alone = alone
        self._ledger, self._clock, self._observer = ledger, clock, observer
        self._draining = asyncio.Event()

    def add_role(self, name: str, *, finds_events: bool = False) -> Role:
        """Return a role that this worker asks for from its first heartbeat on. `finds_events`: its work is an `EventSource`."""
        role = Role(name, self._clock, self._report_loss, finds_events=finds_events)
        if self._alone:
            role.waive()
        self.roles.append(role)
        return role

    def waive_sources(self) -> None:
        """Look for events without roles: a process that ends once no work is left has to look for itself."""
        for role in self.roles:
            if role.finds_events:
                role.waive()

    def drain(self) -> None:
        """Give the roles back, once their work has ended. Idempotent."""
        self._draining.set()

    async def run(self, describe: Callable[[], Heartbeat]) -> None:
        """Send heartbeats, made by `describe`, until cancelled."""
        if self._alone:
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_heartbeats(describe), name="heartbeats")
            group.create_task(self._abort_ended(), name="ends of roles")

    async def _send_heartbeats(self, describe: Callable[[], Heartbeat]) -> None:
        every = min(EVERY, self._ledger.lease / ROUNDS)
        while True:
            leaving = self._draining.is_set()
            if leaving:
                await self._end_work()
            await self._send(describe(), () if leaving else [role.name for role in self.roles if not role.waived])
            if leaving or not self._draining.is_set():
                await self._rest(every, leaving)

    async def _send(self, heartbeat: Heartbeat, wanted: list[str] | tuple[()]) -> None:
        ends = find_lease_end(self._clock, self._ledger.lease)
        with suppress(LedgerError, TimeoutError):  # the next one comes before the leases end
            async with asyncio.timeout(self._ledger.lease / ROUNDS / 2):  # also if this call hangs
                granted = await self._ledger.heartbeat(heartbeat, wanted)
            for role in self.roles:
                self._apply_answer(role, role.name in granted and not self._draining.is_set(), ends)

    def _apply_answer(self, role: Role, granted: bool, ends: float) -> None:
        role.answered = not self._draining.is_set()
        if granted:
            if role.grant(ends):
                self._observer.on(Record("role.taken", operation=role.name))
        else:
            role.withdraw("" if self._draining.is_set() else "another worker has it")

    async def _end_work(self) -> None:
        """Abort the work under all roles. The roles are freed even if it does not end soon: two holders do no harm."""
        for role in self.roles:
            role.answered = False
            role.withdraw()
        with suppress(TimeoutError):
            async with asyncio.timeout(ENDING):
                for role in self.roles:
                    await role.wait_ended()

    async def _rest(self, seconds: float, leaving: bool) -> None:
        """Sleep until the next heartbeat is due. A drain is reported at once."""
        if leaving:
            await self._clock.sleep(seconds)
            return
        await sleep_until_set(self._clock, seconds, self._draining)

    async def _abort_ended(self) -> None:
        """Abort the work under each role whose lease ends. A lease that is granted later ends later."""
        longest = self._ledger.lease * (1 - MARGIN)
        while True:
            for role in self.roles:
                role.abort_if_ended()
            left = min((role.left for role in self.roles if role.left > 0), default=longest)
            await self._clock.sleep(max(PRECISION, min(left, longest)))

    def _report_loss(self, name: str, why: str) -> None:
        self._observer.on(Record("role.lost", operation=name, message=why))
