"""Transfers, finished and in progress."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from skyferry.errors import NotFound
from skyferry.server.models import TransferPage, TransferSummary, TransferView
from skyferry.server.queries import TransferQuery
from skyferry.server.service_port import Service

router = APIRouter(prefix="/v1/transfers", tags=["transfers"])


@router.get("")
async def transfers(service: Service, query: Annotated[TransferQuery, Query()]) -> TransferPage:
    """List transfers, the most recently updated first."""
    page = await service.ledger.list_transfers(query.to_filter(query.state), query.ledger_cursor(), query.limit)
    return TransferPage(
        items=[TransferSummary.from_row(row) for row in page.items], cursor=query.wrap_cursor(page.cursor)
    )


@router.get("/{transfer_id}")
async def transfer(service: Service, transfer_id: str) -> TransferView:
    """Return one transfer with its receipt or its failed attempts."""
    row = await service.ledger.get_transfer(transfer_id)
    if row is None:
        raise NotFound("The transfer does not exist.")
    return TransferView.from_row(row)
