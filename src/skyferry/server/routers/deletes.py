"""Held deletes: objects missing at their source, until a person approves or rejects their deletion."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query

from skyferry.server.models import Count, HeldDeletePage, HeldDeleteView
from skyferry.server.queries import HeldQuery, HeldSelection
from skyferry.server.service_port import Service

router = APIRouter(prefix="/v1/deletes", tags=["held deletes"])


@router.get("")
async def deletes(service: Service, query: Annotated[HeldQuery, Query()]) -> HeldDeletePage:
    """List held deletes, newest first: those that wait, or those approved or rejected."""
    page = await service.ledger.list_held_deletes(query.to_filter(query.state), query.cursor, query.limit)
    return HeldDeletePage(items=[HeldDeleteView.model_validate(held) for held in page.items], cursor=page.cursor)


@router.post("/approve", status_code=HTTPStatus.ACCEPTED)
async def approve(service: Service, selection: HeldSelection) -> Count:
    """Delete the copies, unless the source has the object again. Rejected deletes can be approved later."""
    return Count(count=await service.ledger.approve_deletes(selection.to_filter(None), selection.ids))


@router.post("/reject")
async def reject(service: Service, selection: HeldSelection) -> Count:
    """Keep the copies until the source has the object again."""
    return Count(count=await service.ledger.reject_deletes(selection.to_filter(None), selection.ids))
