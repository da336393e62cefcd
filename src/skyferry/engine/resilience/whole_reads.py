"""Refuse read bodies that are shorter than the contract of the port allows."""

from __future__ import annotations

from skyferry.errors import ConnectionLost
from skyferry.ports import ObjectData
from skyferry.ports.decorators import StoreDecorator


class WholeReadsStore(StoreDecorator):
    """Raises ConnectionLost for a body that ended early without an error, as from a proxy that hides it."""

    async def read(self, key: str, start: int, length: int, *, version: str = "") -> ObjectData:
        got = await self.inner.read(key, start, length, version=version)
        if len(got.data) != max(0, min(start + length, got.meta.size) - start):
            raise ConnectionLost("the body ended early", where=f"{self.name} {key}")
        return got
