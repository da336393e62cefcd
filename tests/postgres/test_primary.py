"""The connections of a pool to a cluster: hosts that do not answer, and two servers that accept writes."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from tests.absent import absent

from skyferry.clouds.credentials import fixed_credentials
from skyferry.errors import LedgerError
from skyferry.ledgers.postgres.database import LedgerSession
from skyferry.postgres import pool as pools
from skyferry.postgres import primary as primaries
from skyferry.postgres.address import parse_postgres
from skyferry.postgres.errors import StalePrimary
from skyferry.postgres.pool import PoolOptions, PostgresPool
from skyferry.postgres.primary import Host, PrimaryFinder
from skyferry.testing.servers import PostgresServer, ServerMissing, postgres
from skyferry.testing.servers.engines.postgres import standby

PORT = "SELECT current_setting('port')::int"
BOTH = "SELECT pg_backend_pid() FROM pg_sleep(0.1)"  # two at once take two connections


def connect(
    server: PostgresServer, *hosts: str, password: str = "", statement: float = 10.0, timeout: float = 2.0
) -> PostgresPool[LedgerError]:
    url = f"postgresql://{server.user}@{','.join(hosts or (server.address,))}/postgres"
    address = parse_postgres(url, "", names=0, allow_plain=False)
    options = PoolOptions(address, connect_timeout=timeout, statement_timeout=statement)
    return PostgresPool("ledger", options, fixed_credentials(password or server.password), LedgerError)


async def find_port(pool: PostgresPool[LedgerError], sql: str = PORT) -> int:
    port: int = await pool.run(lambda connection: connection.fetchval(sql))
    return port


@asynccontextmanager
async def silenced(pool: PostgresPool[LedgerError]) -> AsyncIterator[None]:
    """Open both connections of a pool, and stop the processes that serve them."""
    processes = await asyncio.gather(find_port(pool, BOTH), find_port(pool, BOTH))
    try:
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)
        await pool.close()


class Closing(asyncio.Protocol):
    """A proxy whose server is away."""

    def connection_made(self, transport: Any) -> None:
        transport.close()


@pytest.mark.parametrize("answer", [asyncio.Protocol, Closing], ids=["is silent", "closes the connection"])
async def test_the_next_host_is_used_if_the_first(
    answer: Callable[[], asyncio.Protocol], postgres_server: PostgresServer
) -> None:
    """As a machine without power does, or a proxy without a server."""
    async with await asyncio.get_running_loop().create_server(answer, "127.0.0.1", 0) as server:
        first = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        pool = connect(postgres_server, first, postgres_server.address)
        assert await find_port(pool) == postgres_server.port
        await pool.close()


async def test_a_refusal_says_more_than_a_host_that_does_not_answer(postgres_server: PostgresServer) -> None:
    pool = connect(postgres_server, "127.0.0.1:1", postgres_server.address, password="wrong")
    with pytest.raises(LedgerError, match="password authentication failed"):
        await find_port(pool)
    await pool.close()


async def test_only_the_first_connection_waits_for_a_silent_host(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise each connection of a burst would take a second longer."""
    monkeypatch.setattr(primaries, "GRACE", 0.1)
    async with await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0) as server:
        silent = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        pool = connect(postgres_server, silent, postgres_server.address, timeout=600)
        assert await find_port(pool) == postgres_server.port
        monkeypatch.setattr(primaries, "GRACE", 600.0)
        async with asyncio.timeout(60):
            await asyncio.gather(*(find_port(pool, BOTH) for _ in range(4)))
        await pool.close()
    assert not [task for task in asyncio.all_tasks() if "late" in task.get_name()]


class Servers:
    """Servers that accept writes, each with its timeline, or with the error of the query for it."""

    def __init__(self, **timelines: int | Exception) -> None:
        self.timelines = timelines
        self.silent: dict[str, asyncio.Event] = {}
        self.left = asyncio.Event()
        self.finder = PrimaryFinder([(name, 1) for name in timelines], self._leave)

    async def connect(self) -> str:
        """Return the name of the server that was chosen."""
        connection, _ = await self.finder.connect(self._connect)
        name: str = connection.name
        return name

    async def _leave(self) -> None:
        self.left.set()

    async def _connect(self, host: Host) -> Any:
        if host[0] in self.silent:
            await self.silent[host[0]].wait()
        return Server(host[0], self.timelines[host[0]])


class Server:
    """A connection to one of them."""

    def __init__(self, name: str, timeline: int | Exception) -> None:
        self.name, self._timeline, self.closed = name, timeline, False

    async def fetchrow(self, sql: str, timeout: float) -> tuple[int, int]:
        if isinstance(self._timeline, Exception):
            raise self._timeline
        return 1, self._timeline

    def terminate(self) -> None:
        self.closed = True


async def test_a_silent_host_that_is_the_newest_primary_replaces_another_when_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No connection waits for it, but its answer counts."""
    monkeypatch.setattr(primaries, "GRACE", 0.01)
    servers = Servers(old=1, new=2)
    servers.silent["new"] = asyncio.Event()
    assert [await servers.connect(), await servers.connect()] == ["old", "old"]
    servers.silent["new"].set()
    await servers.left.wait()
    assert await servers.connect() == "new"
    await servers.finder.close()


async def test_a_silent_host_is_waited_for_while_only_a_stale_primary_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primaries, "GRACE", 0.01)
    servers = Servers(old=1, new=2)
    assert await servers.connect() == "new"
    servers.silent["new"] = asyncio.Event()
    with pytest.raises(StalePrimary):
        await servers.connect()
    monkeypatch.setattr(primaries, "GRACE", 600.0)
    connecting = asyncio.create_task(servers.connect())
    for _ in range(50):  # until the old one has answered
        await asyncio.sleep(0)
    servers.silent["new"].set()
    assert await connecting == "new"
    await servers.finder.close()


async def test_a_server_that_stops_during_the_query_for_its_timeline_is_no_primary() -> None:
    """A service without timelines fails at this query as well, but is used."""
    servers = Servers(ending=asyncpg.AdminShutdownError("terminating connection due to administrator command"), other=3)
    assert await servers.connect() == "other"
    alone = Servers(ending=servers.timelines["ending"])
    with pytest.raises(asyncpg.AdminShutdownError):
        await alone.connect()


async def test_a_service_without_timelines_is_used() -> None:
    servers = Servers(service=asyncpg.UndefinedFunctionError("function pg_control_system() does not exist"))
    assert await servers.connect() == "service"


async def test_no_connection_to_a_silent_server_is_used_again(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first statement without an answer ends all, also one that listens."""
    monkeypatch.setattr(pools, "CANCELLATION", 0.1)
    pool = connect(postgres_server, statement=0.5)
    listening = await pool.connect()
    async with silenced(pool):
        with pytest.raises(LedgerError, match="no answer in time"):
            await find_port(pool)
        assert await find_port(pool) == postgres_server.port
        assert listening.is_closed()


async def test_a_rollback_at_a_silent_server_does_not_take_as_long_as_a_statement(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a server that falls silent within a transaction is left after twice the time."""
    monkeypatch.setattr(pools, "CANCELLATION", 0.1)
    pool, stopped = connect(postgres_server, statement=600.0), list[int]()

    async def write(connection: Any) -> None:
        async with LedgerSession(connection, "skyferry", {}).transaction():
            stopped.append(await connection.fetchval("SELECT pg_backend_pid()"))
            os.kill(stopped[0], signal.SIGSTOP)
            await connection.fetchval("SELECT 1", timeout=0.5)

    try:
        async with asyncio.timeout(60):
            with pytest.raises(LedgerError, match="no answer in time"):
                await pool.run(write)
    finally:
        os.kill(stopped[0], signal.SIGCONT)
        await pool.close()


async def test_the_end_of_connections_to_a_silent_server_is_no_unhandled_error(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver ends them in tasks of its own. Such an error would be a traceback in the log."""
    monkeypatch.setattr(pools, "CANCELLATION", 0.1)
    heard: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    pool = connect(postgres_server, statement=0.5)
    async with silenced(pool):
        with pytest.raises(LedgerError, match="no answer in time"):
            await find_port(pool)
        await asyncio.gather(find_port(pool, BOTH), find_port(pool, BOTH))  # each replaces one
        ends = [task for task in asyncio.all_tasks() if "close" in str(task.get_coro())]
        assert ends
        await asyncio.wait(ends)
        del ends
        gc.collect()
    assert heard == []


async def test_a_stale_primary_is_left_and_not_used_again() -> None:
    """A standby was promoted, and the old primary accepts writes all the same."""
    try:
        with postgres("fsync=off") as primary, standby(primary, "fsync=off") as follower:
            pool = connect(primary, primary.address, follower.address)
            listening = await pool.connect()
            assert await find_port(pool) == primary.port
            await asyncio.to_thread(follower.run, "SELECT pg_promote()")
            await asyncio.gather(*(find_port(pool, f"{PORT} FROM pg_sleep(0.1)") for _ in range(2)))  # one is new
            assert await find_port(pool) == follower.port
            assert listening.is_closed()
            new = connect(primary, primary.address, follower.address)
            assert await find_port(new) == follower.port
            await new.close()
            await asyncio.to_thread(follower.daemon.kill)
            for _ in range(2):
                with pytest.raises(LedgerError, match=r"has been replaced|was lost|connection was closed") as caught:
                    await find_port(pool)
            assert "pg_rewind" in caught.value.hint
            await pool.close()
    except ServerMissing as missing:
        absent(missing)
