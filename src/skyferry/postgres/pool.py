"""A few connections to one database, made again after a failure, with the password and the certificates of that moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Generic, TypeAlias, TypeVar
from weakref import WeakSet

import asyncpg

from skyferry.clouds.credentials import TokenProvider, renew_refused
from skyferry.clouds.tls import make_tls_context
from skyferry.config.servers.tls import TlsSettings
from skyferry.errors import SkyferryError
from skyferry.frozen import dataclass
from skyferry.postgres.address import PostgresAddress
from skyferry.postgres.errors import FAILURES, REFUSED, STANDBY, translate_error
from skyferry.postgres.primary import Host, PrimaryFinder

T = TypeVar("T")
E = TypeVar("E", bound=SkyferryError)
Connection: TypeAlias = Any  # asyncpg's, which is untyped
CANCELLATION = 5.0  # seconds that a server has to confirm that a statement was cancelled


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """Options of one pool."""

    address: PostgresAddress
    tls: TlsSettings = TlsSettings()
    connections: int = 4  # at the same time
    connect_timeout: float = 10.0  # seconds
    statement_timeout: float = 30.0  # seconds, of a statement of Skyferry
    application: str = "skyferry"  # the name of this client in the server's list of connections


class _PooledConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg is untyped
    """A connection whose end is no error: the pool ends those that it has left in tasks that nothing waits for."""

    async def close(self, *, timeout: float | None = None) -> None:
        with suppress(*FAILURES):  # it was aborted
            await super().close(timeout=timeout)


class Transaction:
    """A transaction that commits, or rolls back on an exception. A stricter default of the server would abort many.

    The driver's own waits for a silent server, at the rollback, as long as for a statement.
    """

    def __init__(self, connection: Connection) -> None:
        self._inner = connection.transaction(isolation="read_committed")

    async def __aenter__(self) -> None:
        await self._inner.__aenter__()

    async def __aexit__(self, *raised: Any) -> None:
        if raised[0] is None:
            await self._inner.__aexit__(*raised)
            return
        with suppress(TimeoutError):  # the pool ends the connection, and the exception is passed on
            async with asyncio.timeout(CANCELLATION):
                await self._inner.__aexit__(*raised)


async def _keep_session(connection: Connection) -> None:
    """Save a round trip for each use: no call changes the session. An open transaction is rolled back before this."""


class PostgresPool(Generic[E]):
    """Connections to the server of a cluster that accepts writes. Each failure is raised as `kind`."""

    def __init__(self, name: str, options: PoolOptions, password: TokenProvider, kind: type[E]) -> None:
        self.address = options.address
        self._name, self._options, self._password, self._kind = name, options, password, kind
        self._opening = asyncio.Lock()
        self._pool: Any = None
        self._finder = PrimaryFinder(options.address.server.hosts, self._leave_server)
        self._apart: WeakSet[Connection] = WeakSet()  # connections that the callers close
        self._check: Callable[[Connection], Awaitable[object]] | None = None
        self.closed = False

    def check_connections(self, check: Callable[[Connection], Awaitable[object]]) -> None:
        """Run `check` with each new connection before its first use, from now on. `run` raises its errors."""
        self._check = check

    async def run(self, call: Callable[[Connection], Awaitable[T]]) -> T:
        """Return the result of `call` with a connection. Each statement commits, unless `call` opens a transaction."""
        try:
            return await self._call(call)
        except FAILURES as error:
            if isinstance(error, (*STANDBY, TimeoutError)):
                await self._leave_server()  # it was demoted or is silent: look for the new primary
            raise translate_error(error, self._kind, self._name, self.address.server.shown) from error

    async def _call(self, call: Callable[[Connection], Awaitable[T]]) -> T:
        pool = await self._open()
        connection = await pool.acquire(timeout=self._options.statement_timeout)
        try:
            return await call(connection)
        finally:
            with suppress(TimeoutError):  # the connection was terminated
                await pool.release(connection, timeout=CANCELLATION)

    async def connect(self) -> Connection:
        """Return a connection that the caller closes, such as for LISTEN. It ends when the others leave their server."""
        try:
            connection = await self._connect()
            self._apart.add(connection)
            return connection
        except FAILURES as error:
            raise translate_error(error, self._kind, self._name, self.address.server.shown) from error

    async def close(self) -> None:
        """Close all connections. Idempotent."""
        self.closed = True
        await self._finder.close()
        pool, self._pool = self._pool, None
        if pool is not None:
            with suppress(*FAILURES):
                await asyncio.wait_for(pool.close(), 2.0)

    async def _leave_server(self) -> None:
        """Use no open connection again."""
        if self._pool is not None:
            await self._pool.expire_connections()
        for connection in list(self._apart):
            connection.terminate()

    async def _open(self) -> Any:
        if self.closed:
            raise self._kind("it is closed", where=self._name)
        if self._pool is None:
            async with self._opening:
                self._pool = self._pool or await asyncpg.create_pool(
                    min_size=0,
                    max_size=self._options.connections,
                    connect=self._connect_pooled,
                    connection_class=_PooledConnection,
                    reset=_keep_session,
                )
        return self._pool

    async def _connect_pooled(self, *_: object, loop: object = None, **fixed: Any) -> Connection:
        """Connect for the pool, which passes the class of connections and of records."""
        connection = await self._connect(**fixed)
        if self._check is not None:
            try:
                await self._check(connection)
            except BaseException:  # also if it is cancelled
                connection.terminate()
                raise
        return connection

    async def _connect(self, **fixed: Any) -> Connection:
        """Connect, and once more if the password was replaced in the meantime."""
        password = await self._password()
        try:
            return await self._connect_as(password, **fixed)
        except REFUSED:
            if not (renewed := await renew_refused(self._password, password)):
                raise
            return await self._connect_as(renewed, **fixed)

    async def _connect_as(self, password: str, **fixed: Any) -> Connection:
        address, options = self.address, self._options
        context: Any = False
        if address.sslmode != "disable":
            context = await asyncio.to_thread(
                make_tls_context,
                options.tls,
                self._name,
                verify=address.sslmode.startswith("verify"),
                host=address.sslmode == "verify-full",
            )
        fixed |= {"password": password or None, "ssl": context}
        if len(hosts := address.server.hosts) == 1:
            return await self._connect_to(hosts[0], fixed)
        fixed["target_session_attrs"] = "read-write"
        connection, is_newer = await self._finder.connect(lambda host: self._connect_to(host, fixed))
        if is_newer:
            await self._leave_server()  # the primary of before may still run
        return connection

    async def _connect_to(self, host: Host, fixed: Mapping[str, Any]) -> Connection:
        address, options = self.address, self._options
        return await asyncpg.connect(
            host=host[0],
            port=host[1],
            user=address.server.user or None,
            database=address.database,
            timeout=options.connect_timeout,
            command_timeout=options.statement_timeout,
            statement_cache_size=0 if address.pooler else 100,
            **({} if address.pooler else {"server_settings": {"application_name": options.application}}),
            **fixed,
        )
