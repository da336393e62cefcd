"""Find the server of a cluster that accepts writes. A silent server does not hide the others, and a stale primary is not used."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import asyncpg

from skyferry.frozen import dataclass
from skyferry.postgres.errors import StalePrimary, choose_failure

Host: TypeAlias = tuple[str, int]
Connect: TypeAlias = Callable[[Host], Awaitable[Any]]  # to one server; fails if that is a standby
GRACE = 1.0  # seconds that the others have to answer once a server accepts writes
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
    """Connects to the primary among several servers, and remembers its timeline."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        """Take the servers, in order of preference."""
        self._hosts = hosts
        self._newest: dict[int, int] = {}  # timelines by cluster

    async def connect(self, connect: Connect) -> tuple[Any, bool]:
        """Return a connection to the primary of the newest timeline, and True if it was promoted since the last one.

        Raises StalePrimary if only an older one answers. Raises the failure that says most if none accepts writes.
        """
        tasks = [asyncio.create_task(_open(connect, host), name=f"connect {host}") for host in self._hosts]
        chosen: _Primary | None = None
        try:
            await _wait_for_primary(tasks)
            chosen = self._choose(tasks)
        finally:
            for task in tasks:
                task.cancel()
                task.add_done_callback(partial(_close_rejected, chosen))
        before = self._newest.get(chosen.cluster, chosen.timeline)
        self._newest[chosen.cluster] = chosen.timeline
        return chosen.connection, chosen.timeline > before

    def _choose(self, tasks: Sequence[asyncio.Task[_Primary]]) -> _Primary:
        found = [task.result() for task in tasks if _has_result(task)]
        if not found:
            raise choose_failure([error for task in tasks if task.done() and (error := task.exception())])
        best = max(found, key=lambda primary: primary.timeline)  # of equal ones, the first
        if best.timeline < self._newest.get(best.cluster, 0):
            raise StalePrimary
        return best


async def _wait_for_primary(tasks: Sequence[asyncio.Task[_Primary]]) -> None:
    pending = set(tasks)
    while pending and not any(map(_has_result, tasks)):
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
    if pending:
        await asyncio.wait(pending, timeout=GRACE)


async def _open(connect: Connect, host: Host) -> _Primary:
    connection = await connect(host)
    try:
        cluster, timeline = await connection.fetchrow(_HISTORY, timeout=_READING)
    except asyncpg.PostgresError:  # a service that is not quite PostgreSQL
        return _Primary(connection, 0, 0)
    except BaseException:  # such as a cancellation: the connection has no other owner
        connection.terminate()
        raise
    return _Primary(connection, cluster, timeline)


def _has_result(task: asyncio.Task[_Primary]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _close_rejected(chosen: _Primary | None, task: asyncio.Task[_Primary]) -> None:
    if _has_result(task) and (rejected := task.result()) is not chosen:
        rejected.connection.terminate()
