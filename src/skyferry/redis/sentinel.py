"""Find the primary by its sentinels. All are asked at once, and the answer of half of them counts: a silent one delays nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.credentials import CredentialProvider, UsernamePasswordCredentialProvider

from skyferry.clouds.credentials import read_secret
from skyferry.config.servers.address import Hosts

PATIENCE = 3.0  # seconds for an answer
AGAIN = 0.05  # seconds until a cancellation that the driver has lost, as it may while it connects, is repeated
NO_SENTINEL = "no sentinel answers"
UNKNOWN = "no sentinel knows"
REFUSED = "a sentinel refuses"


class SentinelError(exceptions.ConnectionError):
    """The sentinels name no primary. The text begins with one of the constants."""


class Sentinels:
    """The sentinels of a URL, as the driver's pool of connections asks them."""

    def __init__(self, hosts: Hosts, secret_file: str, server: CredentialProvider, common: Mapping[str, Any]) -> None:
        """A sentinel that demands a password gets the one in `secret_file`; "" = the same as the `server`."""
        self._hosts, self._file, self._server = hosts, secret_file, server
        times = {"socket_connect_timeout": PATIENCE, "socket_timeout": PATIENCE}
        self._common = {**common, **times, "credential_provider": None}
        self._secured = False  # they have demanded a password

    async def discover_master(self, service: str) -> tuple[str, int]:
        """Return the host and the port of the primary. Raises SentinelError."""
        tasks = [asyncio.create_task(self._ask(*host, service), name=f"sentinel {host}") for host in self._hosts]
        votes, failures = Counter[tuple[str, int]](), list[Exception]()
        try:
            for answer in asyncio.as_completed(tasks):
                try:
                    found = await answer
                except (exceptions.RedisError, OSError) as error:
                    failures.append(error)
                    continue
                if found is not None:
                    votes[found] += 1
                    if 2 * votes[found] >= len(tasks):
                        return found
        finally:
            await _cancel(tasks)
        if votes:
            return votes.most_common(1)[0][0]
        raise _explain(service, failures, len(tasks))

    async def _ask(self, host: str, port: int, service: str) -> tuple[str, int] | None:
        is_secured = self._secured
        try:
            return await self._ask_as(await self._credentials(), host, port, service)
        except exceptions.AuthenticationError:
            if is_secured:
                raise
            self._secured = True
            return await self._ask_as(await self._credentials(), host, port, service)

    async def _ask_as(
        self, credentials: CredentialProvider | None, host: str, port: int, service: str
    ) -> tuple[str, int] | None:
        pool: Any = Redis(host=host, port=port, **{**self._common, "credential_provider": credentials}).connection_pool
        connection = pool.make_connection()  # of its own: a pool loses one that is cancelled while it connects
        try:
            await connection.connect()
            await connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
            found = await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)
        return (found[0].decode(), int(found[1])) if found else None

    async def _credentials(self) -> CredentialProvider | None:
        if not self._secured:
            return None
        if not self._file:
            return self._server
        password = await asyncio.to_thread(read_secret, {}, "", Path(self._file), "password of the sentinels")
        return UsernamePasswordCredentialProvider(password=password)


def connect_primary(service: str, sentinels: Sentinels, **options: Any) -> Redis:
    """Return a client of the primary. Each new connection asks for it, and a change ends the connections to the one before."""
    make: Any = _PrimaryPool  # untyped
    return Redis.from_pool(make(service, sentinels, **options))


class _PrimaryPool(SentinelConnectionPool):
    """Ends also a connection that was in use when another primary was found. The driver's would use it again."""

    async def release(self, connection: Any) -> None:
        if (connection.host, connection.port) != self.master_address:
            await connection.disconnect()
        await super().release(connection)


def _explain(service: str, failures: list[Exception], asked: int) -> SentinelError:
    answers = [
        error for error in failures if isinstance(error, exceptions.ResponseError | exceptions.AuthenticationError)
    ]
    if answers:
        return SentinelError(f"{REFUSED}: {answers[0]}")
    if len(failures) < asked:
        return SentinelError(f"{UNKNOWN} a primary {service!r}")
    return SentinelError(f"{NO_SENTINEL}: {failures[0]}")


async def _cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and wait until they have closed their connections. Their errors are not needed."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)
