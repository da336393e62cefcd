"""Find the server of a cluster that accepts writes. A silent server does not hide the others, and a stale primary is not used."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import asyncpg

from skyferry.frozen import dataclass
from skyferry.postgres.errors import FAILURES, StalePrimary, choose_failure, is_transient

Host: TypeAlias = tuple[str, int]
Connect: TypeAlias = Callable[[Host], Awaitable[Any]]  # to one server; fails if that is a standby
GRACE = 1.0  # seconds that the others have to answer once a server accepts writes
SILENCE = 30.0  # seconds for which no connection waits for a server that was silent for GRACE
# A promotion begins a timeline with a higher number, and the identifier stays. Every role may read both
_HISTORY = """SELECT (SELECT system_identifier FROM pg_control_system()),
    ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint"""
_READING = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class _Primary:
    """A server that accepts writes."""

    connection: Any
    cluster: int  # its identifier; 0 = the service does not return one
    timeline: int


class PrimaryFinder:
    """Connects to the primary among several servers, and remembers its timeline, and which servers are silent."""

    def __init__(self, hosts: Sequence[Host], on_newer: Callable[[], Awaitable[None]]) -> None:
        """Take the servers, in order of preference. `on_newer` is called if a server is found late to be the newest primary."""
        self._hosts, self._on_newer = hosts, on_newer
        self._newest: dict[int, int] = {}  # timelines by cluster
        self._silent: dict[Host, float] = {}  # the time of the event loop at which each was last found silent
        self._late: dict[Host, asyncio.Task[None]] = {}  # attempts that outlive their call

    async def connect(self, connect: Connect) -> tuple[Any, bool]:
        """Return a connection to the primary of the newest timeline, and True if it was promoted since the last one.

        Raises StalePrimary if only an older one answers. Raises the failure that says most if none accepts writes.
        """
        tasks = {
            host: asyncio.create_task(self._attempt(connect, host), name=f"connect {host}") for host in self._hosts
        }
        chosen: _Primary | None = None
        try:
            await self._wait_for_primary(tasks)
            chosen = self._choose(list(tasks.values()))
        finally:
            for host, task in tasks.items():
                task.add_done_callback(partial(_close_rejected, chosen))
                if chosen and not task.done() and host not in self._late:
                    self._late[host] = asyncio.create_task(self._await_late(host, task), name=f"late {host}")
                else:
                    task.cancel()
        return chosen.connection, self._remember(chosen)

    async def close(self) -> None:
        """End the attempts that still run."""
        if late := list(self._late.values()):
            for task in late:
                task.cancel()
            await asyncio.wait(late)

    def _choose(self, tasks: Sequence[asyncio.Task[_Primary]]) -> _Primary:
        found = [task.result() for task in tasks if _has_result(task)]
        if not found:
            raise choose_failure([error for task in tasks if task.done() and (error := task.exception())])
        best = max(found, key=lambda primary: primary.timeline)  # of equal ones, the first
        if self._is_stale(best):
            raise StalePrimary
        return best

    def _is_stale(self, primary: _Primary) -> bool:
        return primary.timeline < self._newest.get(primary.cluster, 0)

    def _remember(self, primary: _Primary) -> bool:
        """Remember its timeline. Return True if it was promoted after all that were known."""
        before = self._newest.get(primary.cluster, primary.timeline)
        self._newest[primary.cluster] = max(before, primary.timeline)
        return primary.timeline > before

    async def _wait_for_primary(self, tasks: Mapping[Host, asyncio.Task[_Primary]]) -> None:
        pending = set(tasks.values())
        while pending and not any(map(_has_result, tasks.values())):
            _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        since = asyncio.get_running_loop().time() - SILENCE
        if any(_has_result(task) and not self._is_stale(task.result()) for task in tasks.values()):
            pending = {
                task for host, task in tasks.items() if task in pending and self._silent.get(host, since) <= since
            }
        if pending:
            _, pending = await asyncio.wait(pending, timeout=GRACE)
            for host in (host for host, task in tasks.items() if task in pending):
                self._note(host, is_silent=True)

    async def _await_late(self, host: Host, task: asyncio.Task[_Primary]) -> None:
        """Wait for an attempt after the grace. A newer primary that was silent replaces the one in use."""
        try:
            if self._remember(await task):
                await self._on_newer()
        except FAILURES:
            pass  # `_attempt` has noted it
        finally:
            del self._late[host]

    async def _attempt(self, connect: Connect, host: Host) -> _Primary:
        try:
            primary = await _open(connect, host)
        except Exception as error:
            self._note(host, is_silent=isinstance(error, OSError) and not isinstance(error, ConnectionError))
            raise
        self._note(host, is_silent=False)
        return primary

    def _note(self, host: Host, *, is_silent: bool) -> None:
        self._silent.pop(host, None)
        if is_silent:
            self._silent[host] = asyncio.get_running_loop().time()


async def _open(connect: Connect, host: Host) -> _Primary:
    connection = await connect(host)
    try:
        cluster, timeline = await connection.fetchrow(_HISTORY, timeout=_READING)
    except BaseException as error:  # also if it is cancelled: the connection has no other owner
        if isinstance(error, asyncpg.PostgresError) and not is_transient(error):
            return _Primary(connection, 0, 0)  # a service that is not quite PostgreSQL
        connection.terminate()
        raise
    return _Primary(connection, cluster, timeline)


def _has_result(task: asyncio.Task[_Primary]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _close_rejected(chosen: _Primary | None, task: asyncio.Task[_Primary]) -> None:
    if _has_result(task) and (rejected := task.result()) is not chosen:
        rejected.connection.terminate()
