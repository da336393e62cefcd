"""A server whose answers a test writes byte for byte: what no real service or emulator sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

Answer = Callable[[str, str, Mapping[str, str]], bytes]  # method, target, headers (in lower case) -> the answer


def write_answer(status: int, body: bytes = b"", *, length: int | None = -1, **headers: str) -> bytes:
    """Write an answer. `length` is the declared one: -1 = the true one, None = none. `_` in a name is `-`."""
    lines = [f"HTTP/1.1 {status} X", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    lines += [] if length is None else [f"content-length: {len(body) if length < 0 else length}"]
    lines += ["connection: close"]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def serve_script(answer: Answer) -> AsyncIterator[tuple[str, list[str]]]:
    """Serve `answer` on a free port. Yield the URL, and the requests as they come: method and target."""
    seen: list[str] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in head[1:] if line)}
            await reader.readexactly(int(headers.get("content-length", "0")))
            seen.append(f"{method} {target}")
            writer.write(answer(method, target, headers))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # a connection without a request, or a client that has read enough
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen
    finally:
        server.close()
        await server.wait_closed()
