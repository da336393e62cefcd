"""The decorator that lets nothing be written to a store outside the regions that its routes allow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from skyferry.errors import RegionNotAllowed, SkyferryError
from skyferry.ports import Clock, ObjectStore, Observer
from skyferry.ports.decorators import Operation, StoreDecorator
from skyferry.ports.inspection import InspectableStore, Unknown
from skyferry.records import Record

AGAIN = 600.0  # seconds after which the region is asked again: a bucket of the name may have been made elsewhere
T = TypeVar("T")


class ResidencyStore(StoreDecorator):
    """Asks the provider for the region of the bucket before the first write, and every ten minutes.

    Where the provider does not report it, the configured region counts; that is logged once.
    """

    def __init__(
        self, inner: ObjectStore, allows: Callable[[str], bool], allowed: str, clock: Clock, observer: Observer
    ) -> None:
        """`allows` tests a region; `allowed` describes the permitted ones, for people."""
        super().__init__(inner)
        self._allows, self._allowed, self._clock, self._observer = allows, allowed, clock, observer
        self._lock, self._due, self._fault, self._warned = asyncio.Lock(), float("-inf"), "", False

    def _request(
        self, operation: Operation, key: str, size: int, call: Callable[..., Coroutine[Any, Any, T]], *args: Any
    ) -> Coroutine[Any, Any, T]:
        if operation.side != "write" or (not self._fault and self._clock.monotonic() < self._due):
            return call(*args)
        return self._checked(call, *args)

    async def _checked(self, call: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        await self.ensure_allowed()
        return await call(*args)

    async def ensure_allowed(self) -> None:
        """Raise RegionNotAllowed if the provider reports another region. Raises StoreError if the bucket is unreachable."""
        async with self._lock:
            if self._clock.monotonic() >= self._due:
                self._fault = await self._find_fault()
                self._due = self._clock.monotonic() + AGAIN
        if self._fault:
            raise RegionNotAllowed(
                self._fault,
                where=self.name,
                hint="Correct the store, or allow_regions of its routes. The region is asked again every ten minutes.",
            )

    async def _find_fault(self) -> str:
        assert isinstance(self.inner, InspectableStore)
        region = (await self.inner.inspect()).region
        if isinstance(region, Unknown) or not region:
            reason = region.reason if isinstance(region, Unknown) else "the provider does not report it"
            self._warn(reason)
            return ""
        return "" if self._allows(region) else f"the bucket is in {region}, but copies may be in {self._allowed} only"

    def _warn(self, reason: str) -> None:
        if not self._warned:
            message = f"the configured region is relied on, because the actual one is unknown: {reason}"
            self._observer.on(Record("store.region_unknown", store=self.name, message=message))
        self._warned = True


async def ensure_regions(stores: list[ResidencyStore]) -> None:
    """Check all at the start. Raises RegionNotAllowed; a store that is unreachable is checked before its first write."""
    for outcome in await asyncio.gather(*(store.ensure_allowed() for store in stores), return_exceptions=True):
        if isinstance(outcome, RegionNotAllowed) or (outcome and not isinstance(outcome, SkyferryError)):
            raise outcome
