"""The connections of a pool to a cluster: hosts that do not answer, and two servers that accept writes."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.absent import absent

from skyferry.clouds.credentials import fixed_credentials
from skyferry.errors import LedgerError
from skyferry.ledgers.postgres.database import LedgerSession
from skyferry.postgres import pool as pools
from skyferry.postgres.address import parse_postgres
from skyferry.postgres.pool import PoolOptions, PostgresPool
from skyferry.testing.servers import PostgresServer, ServerMissing, postgres
from skyferry.testing.servers.engines.postgres import standby

PORT = "SELECT current_setting('port')::int"
BOTH = "SELECT pg_backend_pid() FROM pg_sleep(0.1)"  # two at once take two connections


def connect(
    server: PostgresServer, *hosts: str, password: str = "", statement: float = 10.0
) -> PostgresPool[LedgerError]:
    url = f"postgresql://{server.user}@{','.join(hosts or (server.address,))}/postgres"
    address = parse_postgres(url, "", names=0, allow_plain=False)
    options = PoolOptions(address, connect_timeout=2, statement_timeout=statement)
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
