"""The connections to one server, kept for the next requests."""

from __future__ import annotations

import asyncio
import socket
import ssl
from ipaddress import ip_address
from typing import Any

import aiohappyeyeballs

from skyferry.clouds.http.connection import HttpConnection
from skyferry.clouds.http.limits import Limits
from skyferry.clouds.http.request import HttpOrigin
from skyferry.clouds.http.tls import TlsSession, tls_context
from skyferry.errors import ConnectionLost, StoreTimeout
from skyferry.tasks.deadlines import DeadlineSweep

IDLE = 15.0  # seconds that a connection is kept; servers close theirs later
ADDRESSES = 10.0  # seconds that the addresses of a name are kept
SECOND_ADDRESS = 0.25  # seconds until the next address is tried as well (RFC 8305)
CLOSING = 5.0  # seconds
RECEIVED = 256 * 2**10  # bytes received at once
_Address = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]


class ConnectionPool:
    """The connections to one origin. The caller limits their number."""

    def __init__(self, origin: HttpOrigin, sweep: DeadlineSweep[HttpConnection], limits: Limits) -> None:
        self._origin, self._sweep, self._limits = origin, sweep, limits
        self._loop = asyncio.get_running_loop()
        self._tls = TlsSession(tls_context()) if origin.secure else None
        self._idle: list[HttpConnection] = []  # the last used is the first to be used again
        self._open: set[HttpConnection] = set()
        self._shared = memoryview(bytearray(RECEIVED))
        self._reaper: asyncio.TimerHandle | None = None
        self._resolving = asyncio.Lock()
        self._addresses: list[_Address] = []
        self._resolved = 0.0  # loop time

    def take(self) -> HttpConnection | None:
        """Return an idle connection that is still open, or None."""
        while self._idle:
            if (connection := self._idle.pop()).reusable:
                return connection
        return None

    def give_back(self, connection: HttpConnection) -> None:
        """Keep the connection for other requests, if it is reusable; otherwise close it."""
        if not connection.reusable:
            connection.abort()
            return
        connection.idle_since = self._loop.time()
        self._idle.append(connection)
        if self._reaper is None:
            self._reaper = self._loop.call_later(IDLE, self._reap)

    def learn_session(self, answered: HttpConnection) -> None:
        """Let later connections resume the TLS session of a new one, whose first request was answered."""
        if self._tls is not None and answered.tls is not None:
            self._tls.learn(answered.tls, self._loop.time())

    async def connect(self) -> HttpConnection:
        """Open a connection. Raise StoreTimeout or ConnectionLost."""
        try:
            addresses = await self._resolve()
            async with asyncio.timeout(self._limits.connect_timeout):
                connection = await self._connect(addresses)
        except TimeoutError as late:
            self._resolved = 0.0
            raise StoreTimeout(self._limits.no_connection) from late
        except (ssl.SSLError, ssl.CertificateError) as untrusted:
            hint = "check that the endpoint's certificate is valid for its name and trusted here"
            raise ConnectionLost(self._describe(untrusted), hint=hint) from untrusted
        except OSError as broken:
            self._resolved = 0.0
            raise ConnectionLost(self._describe(broken)) from broken
        self._open.add(connection)
        connection.closed.add_done_callback(lambda _: self._open.discard(connection))
        return connection

    async def close(self) -> None:
        """Close all connections, those in use too."""
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        self._idle.clear()
        ending = [connection.closed for connection in self._open]
        for connection in tuple(self._open):
            connection.abort()
        if ending:
            await asyncio.wait(ending, timeout=CLOSING)

    async def _connect(self, addresses: list[_Address]) -> HttpConnection:
        tls = self._tls
        session = tls.offer(self._loop.time()) if tls else None
        _, connection = await self._loop.create_connection(  # it closes the socket if it fails
            lambda: HttpConnection(self._loop, self._sweep, self._limits, self._shared),
            **await self._choose(addresses),
            ssl=tls.context if tls else None,
            server_hostname=self._origin.host if tls else None,
        )
        if tls and connection.tls:
            tls.check(session, connection.tls)
        return connection

    async def _choose(self, addresses: list[_Address]) -> dict[str, Any]:
        """Return where to connect: the only address, or a socket that is connected to the first of several that answers."""
        first, *others = (address[4] for address in addresses)
        if not others and not any(first[3:]):  # an address of one link needs its zone, which is no part of the host
            return {"host": first[0], "port": self._origin.port}
        opened = await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=SECOND_ADDRESS, interleave=1, loop=self._loop
        )
        return {"sock": opened}

    async def _resolve(self) -> list[_Address]:
        """Return the addresses, each time beginning with another one."""
        host, port = self._origin.host, self._origin.port
        async with self._resolving:
            if not self._addresses or self._loop.time() - self._resolved > ADDRESSES:
                flags = socket.AI_NUMERICHOST if _is_address(host) else socket.AI_ADDRCONFIG
                if _is_address(host):  # without a thread
                    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
                else:
                    found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
                self._addresses, self._resolved = list(found), self._loop.time()  # type: ignore[arg-type]  # of AF_INET and AF_INET6 alone
            else:
                self._addresses.append(self._addresses.pop(0))
            return list(self._addresses)

    def _reap(self) -> None:
        """Close what was idle for too long. The longest idle come first."""
        self._reaper, now = None, self._loop.time()
        old = [connection for connection in self._idle if now - connection.idle_since >= IDLE]
        self._idle = [connection for connection in self._idle if connection.reusable and connection not in old]
        for connection in old:
            connection.abort()
        if self._idle:
            self._reaper = self._loop.call_at(self._idle[0].idle_since + IDLE, self._reap)

    def _describe(self, error: OSError) -> str:
        reason = error.strerror or str(error) or type(error).__name__
        return f"Cannot connect to host {self._origin.host}:{self._origin.port} [{reason}]"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
