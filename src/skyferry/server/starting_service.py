"""The service that the API has from the start of the process. It is alive, and not ready until its ledger is open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from skyferry import __version__
from skyferry.errors import LedgerError, SkyferryError
from skyferry.ports import Ledger, Outgoing
from skyferry.server.service_port import ServicePort
from skyferry.status import HealthCheck, Readiness, Status, Submission

NOT_OPEN = "it is not open yet"


class StartingService:
    """A `ServicePort` that passes everything to `service` once that is set. Before, what needs a ledger raises LedgerError."""

    def __init__(self) -> None:
        self._started_at = time.time()
        self.service: ServicePort | None = None
        self.waits = asyncio.Event()  # set when the ledger has failed once
        self._problem = NOT_OPEN

    def record_failure(self, error: SkyferryError) -> None:
        """Remember why the ledger is not open."""
        self._problem = str(error)
        self.waits.set()

    @property
    def ledger(self) -> Ledger:
        return self._get_service().ledger

    async def submit(self, bodies: Sequence[bytes]) -> list[Submission]:
        return await self._get_service().submit(bodies)

    async def accept(self, queue: str, messages: Sequence[Outgoing]) -> None:
        await self._get_service().accept(queue, messages)

    async def ready(self) -> Readiness:
        if self.service is not None:
            return await self.service.ready()
        return Readiness(self._check())

    async def status(self) -> Status:
        """Return what is known without the ledger, such as whose service this is."""
        if self.service is not None:
            return await self.service.status()
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

    def _check(self) -> tuple[HealthCheck, ...]:
        waits = HealthCheck("worker", "worker", "down", "it waits for its ledger")
        return waits, HealthCheck("ledger", "ledger", "down", self._problem)

    def _get_service(self) -> ServicePort:
        if self.service is None:
            raise LedgerError(self._problem)
        return self.service
