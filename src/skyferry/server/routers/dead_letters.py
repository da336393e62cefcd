"""Dead letters: kept until they are redriven or discarded."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query

from skyferry.errors import NotFound
from skyferry.ports import DeadLetter, Filter
from skyferry.server.models import Count, DeadLetterPage, DeadLetterSummary, DeadLetterView
from skyferry.server.queries import DeadLetterQuery, Selection
from skyferry.server.service_port import Service

router = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"])


@router.get("")
async def dead_letters(service: Service, query: Annotated[DeadLetterQuery, Query()]) -> DeadLetterPage:
    """List dead letters, newest first, without the bodies of their messages."""
    page = await service.ledger.list_dead_letters(query.to_filter(), query.ledger_cursor(), query.limit)
    items = [DeadLetterSummary.model_validate(letter) for letter in page.items]
    return DeadLetterPage(items=items, cursor=query.wrap_cursor(page.cursor))


@router.get("/{letter_id}")
async def dead_letter(service: Service, letter_id: str) -> DeadLetterView:
    """Return one dead letter with its message and its failed attempts."""
    return DeadLetterView.from_letter(await _get_existing(service, letter_id))


@router.post("/redrive", status_code=HTTPStatus.ACCEPTED)
async def redrive(service: Service, selection: Selection) -> Count:
    """Process the selected dead letters again; their attempts count from 1."""
    return Count(count=await service.ledger.redrive(selection.to_filter(), selection.ids))


@router.post("/discard")
async def discard(service: Service, selection: Selection) -> Count:
    """Delete the selected dead letters for good."""
    return Count(count=await service.ledger.discard(selection.to_filter(), selection.ids))


@router.post("/{letter_id}/redrive", status_code=HTTPStatus.ACCEPTED)
async def redrive_one(service: Service, letter_id: str) -> Count:
    """Process one dead letter again. A count of 0 = it was already waiting."""
    await _get_existing(service, letter_id)
    return Count(count=await service.ledger.redrive(Filter(), [letter_id]))


@router.delete("/{letter_id}", status_code=HTTPStatus.NO_CONTENT)
async def discard_one(service: Service, letter_id: str) -> None:
    """Delete one dead letter for good."""
    if not await service.ledger.discard(Filter(), [letter_id]):
        raise _not_found()


async def _get_existing(service: Service, letter_id: str) -> DeadLetter:
    letter = await service.ledger.get_dead_letter(letter_id)
    if letter is None:
        raise _not_found()
    return letter


def _not_found() -> NotFound:
    return NotFound("The dead letter does not exist.")
