"""Bodies of requests that are never whole in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from skyferry.frozen import dataclass


@dataclass(frozen=True, slots=True)
class StreamedBody:
    """The bytes of one object."""

    size: int  # bytes
    pieces: Callable[[], AsyncIterator[bytes]]  # begins anew in each call, for a request that is sent again


class BodyFailed(Exception):
    """The bytes to send ended early. What receives them makes nothing visible, and lets this pass. The cause is `__cause__`."""


async def collect(body: StreamedBody) -> bytes:
    """Return the whole body. For stores in memory."""
    return b"".join([piece async for piece in body.pieces()])
