"""The port between the HTTP server and the service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol, cast

from fastapi import Depends, Request

from skyferry.ports import Ledger, Outgoing
from skyferry.status import Readiness, Status, Submission


class ServicePort(Protocol):
    """The operations of a running service that the server uses."""

    @property
    def ledger(self) -> Ledger:
        """The ledger, to read and redrive transfers and dead letters."""

    async def submit(self, bodies: Sequence[bytes]) -> list[Submission]:
        """Store native events in the queue, durably, all or none. Return one result per body. Raises EventError."""

    async def accept(self, queue: str, messages: Sequence[Outgoing]) -> None:
        """Store unchanged messages of a provider in `queue` ("" = the first), durably. Raises QueueError."""

    async def ready(self) -> Readiness:
        """Return the last known condition of each part, without waiting."""

    async def status(self) -> Status:
        """Return the status, without the parts that cannot be reached."""


def _get_service(request: Request) -> ServicePort:
    return cast(ServicePort, request.app.state.service)


Service = Annotated[ServicePort, Depends(_get_service)]
