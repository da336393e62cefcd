"""The workers of the ledger, and their roles."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from skyferry.server.models import WorkerPage
from skyferry.server.queries import WorkerQuery
from skyferry.server.service_port import Service

router = APIRouter(prefix="/v1/workers", tags=["workers"])


@router.get("")
async def workers(service: Service, query: Annotated[WorkerQuery, Query()]) -> WorkerPage:
    """List the workers that use the ledger, by id. One is listed until its lease ends, `ledger.lease` after its last heartbeat."""
    return WorkerPage.from_page(await service.ledger.list_workers(query.cursor, query.limit))
