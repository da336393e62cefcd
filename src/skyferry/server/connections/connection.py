"""One HTTP connection with deadlines for its client and bounded memory."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

MAX_HEAD = 16 * 2**10  # bytes of a request's first line and headers
MAX_CHUNKS = 10_000  # of one body; each costs as much as thousands of bytes
READ_SIZE = 64 * 2**10  # bytes per read from the socket
PEER = "skyferry.peer"  # in the state of each request: the facts about the peer of its connection
_LOG = logging.getLogger("uvicorn.error.request")
_LOG.setLevel(logging.ERROR)  # faults of clients are in the responses; logging them would let clients fill the log


class _ChunkLimit(h11.Connection):
    """Limits the number of chunks in a body."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD)
        self._chunks = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return the next event. Raises RemoteProtocolError after too many chunks."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = 0
        elif isinstance(event, h11.Data):
            self._chunks += 1
            if self._chunks > MAX_CHUNKS:
                raise h11.RemoteProtocolError("too many chunks")
        return event


class Connection(H11Protocol):
    """HTTP/1.1 with deadlines for sending the headers, sending the body, and reading the response."""

    def __init__(self, config: Config, server_state: ServerState, patience: float) -> None:
        """`patience` is the deadline in seconds."""
        super().__init__(config, server_state, {PEER: {}})
        self.conn, self.logger = _ChunkLimit(), _LOG
        self._patience = patience
        self._timer: asyncio.TimerHandle | None = None
        self._receiving: type[h11.IDLE] | type[h11.SEND_BODY] | None = None
        self._unread = False
        self.since = self.loop.time()  # the start of the current wait for the client

    @property
    def waiting(self) -> bool:
        """True if the client must act next, so that closing the connection interrupts no response."""
        return self._receiving is not None or self._unread or not self.serving

    @property
    def serving(self) -> bool:
        """True if a request has begun and its response is not complete."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base class
        """Start the deadline for headers."""
        with suppress(AttributeError):  # uvloop has no such limit; it reads at most 256 KiB
            setattr(transport, "max_size", READ_SIZE)  # noqa: B010 - the default of asyncio is 256 KiB; it has no setter
        super().connection_made(transport)
        self._update_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadline."""
        self._cancel_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Process the data in pieces of at most `MAX_HEAD`: h11 would accept headers as long as one piece."""
        for begin in range(0, len(data), MAX_HEAD):
            if self.transport.is_closing():
                return
            super().data_received(data[begin : begin + MAX_HEAD])
        self._update_deadline()

    def on_response_complete(self) -> None:
        """Start the deadline for the next request."""
        self._receiving = None
        super().on_response_complete()
        self._update_deadline()

    def pause_writing(self) -> None:
        """Start the deadline for reading the response."""
        super().pause_writing()
        self._unread = True
        self._start_deadline()

    def resume_writing(self) -> None:
        """Cancel the deadline for reading the response."""
        super().resume_writing()
        self._unread = False
        self._cancel_deadline()

    def send_400_response(self, msg: str) -> None:
        """Respond with 400, or close the connection if a response has begun."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._cancel_deadline()
        self.transport.abort()

    def _update_deadline(self) -> None:
        """Restart the deadline if the client enters another phase of its request."""
        state: Any = self.conn.their_state
        receiving = state if state in (h11.IDLE, h11.SEND_BODY) else None
        if receiving is self._receiving:
            return
        self._receiving = receiving
        if receiving is None:
            self._cancel_deadline()
        else:
            self._start_deadline()

    def _start_deadline(self) -> None:
        self._cancel_deadline()
        self.since = self.loop.time()
        self._timer = self.loop.call_later(self._patience, self.abort)

    def _cancel_deadline(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
