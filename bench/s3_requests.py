"""CPU time of Skyferry's side of a GET and a PUT of 4 KiB at S3: everything but the kernel and the server.

    python -m bench.s3_requests [--batches N]

The store is wrapped as in a copy, and a transport in memory answers with the headers of `rclone serve s3`. The smallest time of
all batches is printed, in microseconds, because other load only adds to it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any

from skyferry.clock import SystemClock
from skyferry.clouds.credentials import S3Credentials, fixed_credentials
from skyferry.clouds.http.connection import HttpConnection
from skyferry.clouds.http.pool import ConnectionPool
from skyferry.engine.resilience.circuit_breaker import Breaker, BreakerPolicy
from skyferry.engine.resilience.protection import Protection, protect_store
from skyferry.engine.telemetry import NullObserver
from skyferry.model import Attributes, Checksums
from skyferry.ports import ObjectStore
from skyferry.stores.memory import MemoryStore
from skyferry.stores.s3.client import S3Options
from skyferry.stores.s3.store import S3Store

AT_ONCE, BATCH = 64, 256  # requests
BODY = os.urandom(4096)
HEADERS = b"""\
Access-Control-Allow-Headers: Accept, Accept-Encoding, Authorization, Content-Disposition, Content-Length, Content-Type
Access-Control-Allow-Methods: POST, GET, OPTIONS, PUT, DELETE, HEAD
Access-Control-Allow-Origin: *
Access-Control-Expose-Headers: ETag
Date: Sun, 29 Nov 2026 02:32:10 GMT
Etag: "2b319a4c1d209e00ee3440172af20ccd"
Server: AmazonS3
X-Amz-Id-2: NTVBRDQyREM4Nzk0OUExNjU1QUQ0MkRDODc5NDlBMTY1NUFENDJEQzg3OTQ5QTE2NTVBRDQyREM4Nzk0OUExNg==
X-Amz-Request-Id: 55AD42DC87949A16
"""
READ = b"""\
Accept-Ranges: bytes
Content-Length: 4096
Content-Range: bytes 0-4095/4096
Content-Type: application/octet-stream
Last-Modified: Sun, 29 Nov 2026 02:29:27 GMT
"""
STAMP = {
    f"skyferry-{name}": "0123456789abcdef0123456789abcdef" for name in ("source", "position", "version", "transfer")
}
ATTRIBUTES = Attributes(content_type="application/octet-stream", metadata={"mtime": "1764380000.123456789", **STAMP})
SUMS = Checksums(md5="d41d8cd98f00b204e9800998ecf8427e")


def answer(*lines: bytes) -> bytes:
    """Return the head of a response."""
    return b"HTTP/1.1 200 OK\r\n" + b"".join(lines).replace(b"\n", b"\r\n") + b"\r\n"


GET, PUT = answer(HEADERS, READ) + BODY, answer(HEADERS, b"Content-Length: 0\n")


class MemoryTransport(asyncio.Transport):
    """Answers each request in the next turn of the event loop."""

    def __init__(self, protocol: HttpConnection) -> None:
        super().__init__()
        self._protocol = protocol

    def write(self, data: Any) -> None:
        response = GET if bytes(data[:3]) == b"GET" else PUT
        asyncio.get_running_loop().call_soon(self._answer, response)

    def _answer(self, response: bytes) -> None:
        self._protocol.get_buffer(-1)[: len(response)] = response
        self._protocol.buffer_updated(len(response))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Do nothing: there is no buffer."""

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)


class MemoryPool(ConnectionPool):
    """Opens connections in memory."""

    async def _connect(self, addresses: object) -> HttpConnection:
        connection = HttpConnection(self._loop, self._sweep, self._limits, memoryview(bytearray(2**16)))
        connection.connection_made(MemoryTransport(connection))
        return connection


class Echo(MemoryStore):
    """Answers at once."""

    async def write(self, *args: Any) -> Any:
        return None


def protect(store: ObjectStore) -> ObjectStore:
    """Wrap a store as in a copy."""
    clock = SystemClock()
    breaker = Breaker(BreakerPolicy(), clock)
    return protect_store(store, Protection(breaker, clock, NullObserver(), random.Random(1)))


async def measure(name: str, batches: int, request: Callable[[int], Coroutine[Any, Any, object]]) -> None:
    """Print the least CPU time of one request."""
    best = float("inf")
    for _ in range(batches):
        numbers = iter(range(BATCH))

        async def work(numbers: Any = numbers) -> None:
            for number in numbers:
                await request(number)

        began = time.thread_time()
        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        best = min(best, time.thread_time() - began)
    print(f"{name:44} {1e6 * best / BATCH:7.1f} µs")


async def main(batches: int) -> None:
    """Print the table."""
    setattr(ConnectionPool, "_connect", MemoryPool._connect)  # noqa: B010 - a private method: no setting opens connections in memory
    options = S3Options(service="other", endpoint="http://127.0.0.1:1")
    bare = S3Store("b", "b", fixed_credentials(S3Credentials("key", "secretkey")), options)
    store, echo = protect(bare), protect(Echo("e", SystemClock()))

    async def copy(number: int) -> None:
        got = await store.read(f"a/{number:06}", 0, 4096)
        await store.write(f"b/{number:06}", got.data, ATTRIBUTES, SUMS)

    await measure("GET and PUT", batches, copy)
    await measure("GET", batches, lambda n: store.read(f"a/{n:06}", 0, 4096))
    await measure("PUT", batches, lambda n: store.write(f"b/{n:06}", BODY, ATTRIBUTES, SUMS))
    await measure("GET without protections", batches, lambda n: bare.read(f"a/{n:06}", 0, 4096))
    await measure("PUT without protections", batches, lambda n: bare.write(f"b/{n:06}", BODY, ATTRIBUTES, SUMS))
    await measure("the protections alone", batches, lambda n: echo.write("k", BODY, ATTRIBUTES, SUMS))
    await store.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=50)
    asyncio.run(main(parser.parse_args().batches))
