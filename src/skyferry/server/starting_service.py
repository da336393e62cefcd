"""The service that the API has from the start of the process. It is alive, and not ready until its ledger is open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

from skyferry import __version__
from skyferry.errors import LedgerError, SkyferryError
from skyferry.ports import Ledger, Outgoing
from skyferry.server.service_port import ServicePort
from skyferry.status import HealthCheck, Readiness, Status, Submission

NOT_OPEN = "it is not open yet"
START = 3.0  # seconds for which events and status requests wait for a service that is still being built


class StartingService:
    """A `ServicePort` that passes everything to a service once it has begun. Before, what needs a ledger raises LedgerError."""

    def __init__(self) -> None:
        self._started_at = time.time()
        self.known = asyncio.Event()  # set when the service has begun, or its ledger has failed once
        self._service: ServicePort | None = None
        self._problem = NOT_OPEN

    def begin(self, service: ServicePort) -> None:
        """Pass everything to this service from now on. Idempotent."""
        self._service = service
        self.known.set()

    def record_failure(self, error: SkyferryError) -> None:
        """Remember why the ledger is not open."""
        self._problem = str(error)
        self.known.set()

    @property
    def ledger(self) -> Ledger:
        return self._get_service().ledger

    async def submit(self, bodies: Sequence[bytes]) -> list[Submission]:
        await self._wait()
        return await self._get_service().submit(bodies)

    async def accept(self, queue: str, messages: Sequence[Outgoing]) -> None:
        await self._wait()
        await self._get_service().accept(queue, messages)

    async def ready(self) -> Readiness:
        if self._service is not None:
            return await self._service.ready()
        return Readiness(self._check())

    async def status(self) -> Status:
        """Return the status of the service; without one, what is known without the ledger, such as whose service this is."""
        await self._wait()
        if self._service is not None:
            return await self._service.status()
        return Status(
            version=__version__,
            started_at=self._started_at,
            state="running",
            in_flight=0,
            queues={},
            transfers={},
            dead_letters=None,
            breakers={},
            checks=self._check(),
            exports_ledger=False,
            exports_queues=False,
        )

    async def _wait(self) -> None:
        """Wait for a service that is about to begin: `/health` already says that the process lives."""
        if not self.known.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(START):
                    await self.known.wait()

    def _check(self) -> tuple[HealthCheck, ...]:
        waits = HealthCheck("worker", "worker", "down", "it waits for its ledger")
        return waits, HealthCheck("ledger", "ledger", "down", self._problem)

    def _get_service(self) -> ServicePort:
        if self._service is None:
            raise LedgerError(self._problem)
        return self._service
