"""A server of raw bytes: each connection is a script."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from skyferry.clouds.http import Http, Limits

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class RawServer:
    """Plays `scripts`, one for each connection; the last one is repeated."""

    def __init__(self, *scripts: Serve) -> None:
        self._scripts = scripts
        self.connections = 0
        self.requests: list[bytes] = []  # heads
        self.bodies: list[bytes] = []  # of all requests that were read whole
        self.open = 0  # connections that have not ended

    async def read(self, reader: asyncio.StreamReader) -> None:
        """Read a whole request."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head)
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        self.bodies.append(await reader.readexactly(length))

    def answer(self, *pieces: bytes, pause: float = 0.0) -> Serve:
        """Return a script that reads a request and sends a response, for as long as there are requests."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await self.read(reader)
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(pause)

        return serve

    @asynccontextmanager
    async def run(
        self, host: str = "127.0.0.1", context: ssl.SSLContext | None = None, port: int = 0
    ) -> AsyncIterator[str]:
        """Listen, and give the URL."""
        tasks: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            self.open += 1
            try:
                await script(reader, writer)
            except (asyncio.CancelledError, asyncio.IncompleteReadError, OSError, RuntimeError):  # the last by uvloop
                return
            finally:
                self.open -= 1
                writer.transport.abort() if task.cancelling() else writer.close()

        listening = await asyncio.start_server(serve, host, port, ssl=context)
        try:
            bound, name = listening.sockets[0].getsockname()[1], f"[{host}]" if ":" in host else host
            yield f"{'https' if context else 'http'}://{'localhost' if context else name}:{bound}/"
        finally:
            listening.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks)

    def add(self, *scripts: Serve) -> None:
        """Add scripts, which may refer to the server."""
        self._scripts += scripts


@asynccontextmanager
async def client(url: str, read_timeout: float = 5.0, total: float = 60.0, connections: int = 8) -> AsyncIterator[Http]:
    """Give a client of one server, which must not need aiohttp."""
    http = Http("store", url, Limits(connections, 5.0, read_timeout, total_timeout=total))
    try:
        yield http
        assert http._sessions is None
    finally:
        await http.close()
