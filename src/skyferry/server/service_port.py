"""What the server needs of the service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol, cast

from fastapi import Depends, Request

from skyferry.ports import Ledger, Outgoing
from skyferry.status import Readiness, Status, Submission


class ServiceView(Protocol):
    """A running service, as seen from outside."""

    @property
    def ledger(self) -> Ledger:
        """Its memory: transfers and dead letters are read there, and redriven."""

    async def submit(self, bodies: Sequence[bytes]) -> list[Submission]:
        """Take native events into the queue, durably, all or none; one answer per body. Raises EventError."""

    async def accept(self, queue: str, messages: Sequence[Outgoing]) -> None:
        """Take messages of a provider as they are into that queue ("" = the first), durably. Raises QueueError."""

    async def ready(self) -> Readiness:
        """The condition of each part, at once: from what is known."""

    async def status(self) -> Status:
        """How it stands; what cannot be asked is left out."""


def _service(request: Request) -> ServiceView:
    return cast(ServiceView, request.app.state.service)


Service = Annotated[ServiceView, Depends(_service)]
