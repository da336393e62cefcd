"""Dead letters: what was given up on, until somebody redrives or discards it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query

from skyferry.errors import NotFound
from skyferry.ports import DeadLetter, Filter
from skyferry.server.models import Count, DeadLetterPage, DeadLetterSummary, DeadLetterView
from skyferry.server.queries import DeadLetterListing, Selection
from skyferry.server.service_port import Service

router = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"])


@router.get("")
async def dead_letters(service: Service, query: Annotated[DeadLetterListing, Query()]) -> DeadLetterPage:
    """Newest first, without their messages' bodies."""
    page = await service.ledger.dead_letters(query.filter(), query.position(), query.limit)
    items = [DeadLetterSummary.model_validate(letter) for letter in page.items]
    return DeadLetterPage(items=items, cursor=query.next(page.cursor))


@router.get("/{letter_id}")
async def dead_letter(service: Service, letter_id: str) -> DeadLetterView:
    """One, with its message and the story of its attempts."""
    return DeadLetterView.of(await _existing(service, letter_id))


@router.post("/redrive", status_code=HTTPStatus.ACCEPTED)
async def redrive(service: Service, selection: Selection) -> Count:
    """Process them again, with their attempts counted from 1."""
    return Count(count=await service.ledger.redrive(selection.filter(), selection.ids))


@router.post("/discard")
async def discard(service: Service, selection: Selection) -> Count:
    """Give them up for good."""
    return Count(count=await service.ledger.discard(selection.filter(), selection.ids))


@router.post("/{letter_id}/redrive", status_code=HTTPStatus.ACCEPTED)
async def redrive_one(service: Service, letter_id: str) -> Count:
    """Process it again. 0 = it is waiting for that already."""
    await _existing(service, letter_id)
    return Count(count=await service.ledger.redrive(Filter(), [letter_id]))


@router.delete("/{letter_id}", status_code=HTTPStatus.NO_CONTENT)
async def discard_one(service: Service, letter_id: str) -> None:
    """Give it up for good."""
    if not await service.ledger.discard(Filter(), [letter_id]):
        raise _absent()


async def _existing(service: Service, letter_id: str) -> DeadLetter:
    letter = await service.ledger.dead_letter(letter_id)
    if letter is None:
        raise _absent()
    return letter


def _absent() -> NotFound:
    return NotFound("There is no such dead letter.")
