"""A proxy that lets in who bears a token of the strict stand-ins that has not ended: no server here looks at them."""

from __future__ import annotations

import asyncio
from abc import abstractmethod

from aiohttp import web

from skyferry.ports import ObjectStore
from skyferry.testing.clock import ManualClock
from skyferry.testing.identity import Clouds
from skyferry.testing.servers.proxy import FaultProxy
from skyferry.testing.store_cases.place import BARE, compute_digests

LIFE = 3600.0  # seconds, of a token
PARTS = 8
ENDS = PARTS // 2 + 2  # of tokens, while `carry` is under way


class Door(FaultProxy):
    """Counts whom it refuses."""

    def __init__(self, upstream: str, clouds: Clouds) -> None:
        super().__init__(upstream)
        self.clouds, self.refused = clouds, 0

    @abstractmethod
    def refusal(self) -> web.Response:
        """As this provider says it."""

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.clouds.grants.valid(request.headers.get("authorization", "").removeprefix("Bearer ")):
            return await super()._handle(request)
        self.refused += 1
        async for _ in request.content.iter_any():
            pass
        return self.refusal()


async def carry(store: ObjectStore, part_size: int, clock: ManualClock, own_clock: ManualClock) -> None:
    """A large object. A token ends while each two parts are on their way, before they are put together, and before they
    are looked at.
    """
    piece, size = bytes(part_size), part_size * PARTS
    crc32c = compute_digests(piece).crc32c
    upload = await store.start_upload("k", size, part_size, BARE)
    parts = []
    for number in range(1, PARTS + 1, 2):
        await clock.advance(LIFE)
        await own_clock.advance(60)
        parts += await asyncio.gather(*(store.write_part(upload, n, piece, crc32c) for n in (number, number + 1)))
    await clock.advance(LIFE)
    await store.finish_upload(upload, parts, compute_digests(bytes(size)))
    await clock.advance(LIFE)
    assert (await store.head("k")).size == size
