"""One connection: what is received has a deadline, and costs no more than its length."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

HEAD = 16 * 2**10  # bytes of a request's first line and headers
CHUNKS = 10_000  # of one body; each costs as much as thousands of bytes
READ = 64 * 2**10  # bytes taken from the socket at once
PEER = "skyferry.peer"  # in the state of each request: what is known of the other end of its connection
_LOG = logging.getLogger("uvicorn.error.request")
_LOG.setLevel(
    logging.ERROR
)  # what a client does wrong is in the answer: a line for each would be a way to fill the log


class _Framing(h11.Connection):
    """Counts chunks."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, HEAD)
        self._chunks = 0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Give the next event, as long as the body is not cut into crumbs."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = 0
        elif isinstance(event, h11.Data):
            self._chunks += 1
            if self._chunks > CHUNKS:
                raise h11.RemoteProtocolError("too many chunks")
        return event


class Connection(H11Protocol):
    """HTTP/1.1 with a deadline for the headers, one for the body, and one for a client that does not read its answer."""

    def __init__(self, config: Config, server_state: ServerState, patience: float) -> None:
        """`patience` is in seconds."""
        super().__init__(config, server_state, {PEER: {}})
        self.conn, self.logger = _Framing(), _LOG
        self._patience = patience
        self._timer: asyncio.TimerHandle | None = None
        self._receiving: type[h11.IDLE] | type[h11.SEND_BODY] | None = None
        self._unread = False
        self.since = self.loop.time()  # it has been waiting for this client

    @property
    def waiting(self) -> bool:
        """The client has to do something first: nothing is lost but its time if it is closed."""
        return self._receiving is not None or self._unread or not self.served

    @property
    def served(self) -> bool:
        """A request has begun, and is not answered yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base class
        """Begin to wait for headers."""
        setattr(transport, "max_size", READ)  # noqa: B010 - asyncio's own, 256 KiB; it has no setter
        super().connection_made(transport)
        self._await()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all waiting."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hand on no more at once than headers may have: a longer piece would be taken for headers, however long."""
        for begin in range(0, len(data), HEAD):
            if self.transport.is_closing():
                return
            super().data_received(data[begin : begin + HEAD])
        self._await()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        self._receiving = None
        super().on_response_complete()
        self._await()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._unread = True
        self._start()

    def resume_writing(self) -> None:
        """Wait no longer."""
        super().resume_writing()
        self._unread = False
        self._stop()

    def send_400_response(self, msg: str) -> None:
        """Say so, unless the answer has begun or is over."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def abort(self) -> None:
        """Close it at once, whatever is under way."""
        self._stop()
        self.transport.abort()

    def _await(self) -> None:
        """Restart the clock where the client has something else to do than before."""
        state: Any = self.conn.their_state
        receiving = state if state in (h11.IDLE, h11.SEND_BODY) else None
        if receiving is self._receiving:
            return
        self._receiving = receiving
        if receiving is None:
            self._stop()
        else:
            self._start()

    def _start(self) -> None:
        self._stop()
        self.since = self.loop.time()
        self._timer = self.loop.call_later(self._patience, self.abort)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
