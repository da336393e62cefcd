"""The channel between the parent and a child: frames over a pair of connected sockets.

A frame is its length in four bytes, and a pickled pair of a name and a value. Both ends run the same program, and no other
process can open the sockets. The end of the channel is the end of the process at its other end, in whatever way it ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import pickle
import socket
from collections.abc import Callable, Mapping
from dataclasses import fields
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Literal

from skyferry.model import Checksums, ObjectEvent, ObjectRef
from skyferry.ports import Message

Name = Literal[
    "job",  # parent: the first frame, a `WorkerJob`
    "begin",  # parent: take work
    "drain",  # parent: seconds for transfers in flight, or None for the configured time
    "ready",  # child: everything is open
    "failed",  # child: a SkyferryError that ends it
    "report",  # child: its `WorkerReport`
    "records",  # child: a list of packed records
    "log",  # child: a line of a library: event, level, values
    "call",  # child: a call of the queue that the parent has in memory
    "answer",  # parent: its answer
]
HEAD = 4  # bytes
Reduce = Callable[[Any], tuple[type, tuple[Any, ...]]]


def _reduce_by_fields(kind: type) -> Reduce:
    """Return a function that pickles a record as the arguments of its class. Half the cost of attributes by their names."""
    read = attrgetter(*(field.name for field in fields(kind)))
    return lambda record: (kind, read(record))


REDUCERS: Mapping[type, Reduce] = MappingProxyType(  # of what is sent for each object
    {kind: _reduce_by_fields(kind) for kind in (Message, ObjectEvent, ObjectRef, Checksums)}
)


def pickle_frame(name: Name, value: Any) -> bytes:
    """Return the body of a frame."""
    body = io.BytesIO()
    pickler = pickle.Pickler(body, pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = REDUCERS
    pickler.dump((name, value))
    return body.getvalue()


class Channel:
    """One end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, end: socket.socket) -> Channel:
        """Use a connected socket, which this channel closes."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    def send(self, name: Name, value: Any = None) -> None:
        """Send a frame without waiting. A channel that has ended takes it silently."""
        if not self._writer.is_closing():
            body = pickle_frame(name, value)
            self._writer.write(len(body).to_bytes(HEAD, "big") + body)

    async def flush(self) -> None:
        """Wait while the other end is slow. Raises ConnectionError if it has ended."""
        await self._writer.drain()

    async def receive(self) -> tuple[Name, Any] | None:
        """Return the next frame, or None at the end of the channel."""
        try:
            size = int.from_bytes(await self._reader.readexactly(HEAD), "big")
            body = await self._reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        frame: tuple[Name, Any] = pickle.loads(body)  # noqa: S301 - from our own process: see the docstring of the module
        return frame

    async def close(self) -> None:
        """Send what is left, and close. Idempotent."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
