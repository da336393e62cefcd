"""A proxy that lets in who bears a token of the strict stand-ins that has not ended: no server here looks at them."""

from __future__ import annotations

from aiohttp import web

from skyferry.testing.identity import Clouds
from skyferry.testing.servers.proxy import FaultProxy


class Door(FaultProxy):
    """Counts whom it refuses."""

    def __init__(self, upstream: str, clouds: Clouds) -> None:
        super().__init__(upstream)
        self.clouds, self.refused = clouds, 0

    def refusal(self) -> web.Response:
        """As this provider says it."""
        raise NotImplementedError

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.clouds.grants.valid(request.headers.get("authorization", "").removeprefix("Bearer ")):
            return await super()._handle(request)
        self.refused += 1
        async for _ in request.content.iter_any():
            pass
        return self.refusal()
