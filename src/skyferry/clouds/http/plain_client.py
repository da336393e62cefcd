"""A fast client for plain requests: those with a direct connection and nothing unusual in URL and headers.

docs/decisions/0030-a-fast-path-for-plain-requests.md explains why it exists.
"""

from __future__ import annotations

import asyncio

from skyferry.clouds.http.connection import HttpConnection
from skyferry.clouds.http.limits import Limits
from skyferry.clouds.http.pool import ConnectionPool
from skyferry.clouds.http.request import HttpOrigin, PlainRequest
from skyferry.clouds.http.response_parser import ResponseParser
from skyferry.errors import ConnectionLost, StoreError
from skyferry.tasks.deadlines import DeadlineSweep


class PlainClient:
    """The connections to the servers of one bucket, opened on demand. The caller limits their number."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._sweep: DeadlineSweep[HttpConnection] | None = None
        self._pools: dict[tuple[bool, str], ConnectionPool] = {}  # by scheme and authority

    async def exchange(self, request: PlainRequest, parser: ResponseParser, first_byte: float) -> int:
        """Send a request, and feed its response to `parser`. `first_byte`: seconds until the response begins.

        A kept connection that the server has closed is replaced once, if the request is idempotent and no byte of the
        response has come; a streamed body begins anew. Return how often it was sent. Raise ConnectionLost, StoreTimeout,
        BodyFailed, or what the parser raises.
        """
        origin = request.origin
        pool = self._pools.get((origin.secure, origin.authority)) or self._open_pool(origin)
        if (kept := pool.take()) is not None:
            try:
                await kept.exchange(request, parser, first_byte)
                return 1
            except ConnectionLost:
                if parser.begun or not request.idempotent:
                    raise
            finally:
                pool.give_back(kept)
        try:
            opened = await pool.connect()
        except StoreError as error:
            error.sent = kept is not None
            raise
        try:
            await opened.exchange(request, parser, first_byte)
            pool.learn_session(opened)
            return 1 if kept is None else 2
        finally:
            pool.give_back(opened)

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            await pool.close()
        if self._sweep is not None:
            self._sweep.stop()
            self._sweep = None

    def _open_pool(self, origin: HttpOrigin) -> ConnectionPool:
        self._sweep = self._sweep or DeadlineSweep(asyncio.get_running_loop())
        pool = self._pools[origin.secure, origin.authority] = ConnectionPool(origin, self._sweep, self._limits)
        return pool
