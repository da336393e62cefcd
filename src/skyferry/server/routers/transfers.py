"""Transfers: what was done, what is under way."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from skyferry.errors import NotFound
from skyferry.server.models import TransferPage, TransferSummary, TransferView
from skyferry.server.queries import TransferListing
from skyferry.server.service_port import Service

router = APIRouter(prefix="/v1/transfers", tags=["transfers"])


@router.get("")
async def transfers(service: Service, query: Annotated[TransferListing, Query()]) -> TransferPage:
    """Newest first, by when they last changed."""
    page = await service.ledger.transfers(query.filter(query.state), query.position(), query.limit)
    return TransferPage(items=[TransferSummary.of(row) for row in page.items], cursor=query.next(page.cursor))


@router.get("/{transfer_id}")
async def transfer(service: Service, transfer_id: str) -> TransferView:
    """One, with its receipt or the story of its attempts."""
    row = await service.ledger.transfer(transfer_id)
    if row is None:
        raise NotFound("There is no such transfer.")
    return TransferView.of(row)
