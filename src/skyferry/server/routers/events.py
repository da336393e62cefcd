"""Submitting events."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from itertools import islice
from typing import cast

import orjson
from fastapi import APIRouter, Request

from skyferry.errors import EventError
from skyferry.events import native
from skyferry.server.models import Submissions
from skyferry.server.problems import MAX_FAULTS, ApiError, Fault
from skyferry.server.service_port import Service

router = APIRouter(prefix="/v1", tags=["events"])
LARGE = 64 * 2**10  # bytes; longer bodies are read in a thread, one at a time: objects take forty times the memory
EXAMPLE = {
    "schemaVersion": "1.0.0",
    "eventId": "7f0b0f6e-1c1f-4a53-9d0a-0f3f6a1f8a11",
    "correlationId": "0b8e7c1e-6a55-4c39-8f0f-5b7a3d2c9e10",
    "timestamp": "2026-11-23T08:00:00Z",
    "source": {"provider": "file", "bucket": "source", "key": "photos/cat.jpg"},
}
_EVENT = {"$ref": "#/components/schemas/NativeEvent"}
_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"oneOf": [_EVENT, {"type": "array", "items": _EVENT, "minItems": 1}]},
            "examples": {"one": {"value": EXAMPLE}, "several": {"value": [EXAMPLE]}},
        }
    },
}


@router.post("/events", status_code=HTTPStatus.ACCEPTED, openapi_extra={"requestBody": _BODY})
async def submit(request: Request, service: Service) -> Submissions:
    """Take one event or a list of them, durably. The same event gives the same answer, and is copied once.

    One faulty event refuses the whole request, and the answer names every fault.
    """
    body = await request.body()
    if len(body) <= LARGE:
        return Submissions.of(await service.submit(_read(body)))
    async with cast(asyncio.Lock, request.app.state.reading):
        bodies = await asyncio.to_thread(_read, body)
    return Submissions.of(await service.submit(bodies))


def _read(body: bytes) -> list[bytes]:
    """The events of a request, every one of them valid. Raises ApiError."""
    items, bodies = _items(body), list[bytes]()
    if isinstance(items, dict):
        bodies, faults = [body], _fault_of(body, "")
    else:
        faults = list(islice(_faults(items, bodies), MAX_FAULTS))
    if faults:
        raise _invalid("Nothing was taken: an event is not valid.", faults)
    return bodies


def _items(body: bytes) -> list[object] | dict[str, object]:
    """The list in a request, or the one event."""
    try:
        data = orjson.loads(body)
    except ValueError as error:
        raise _invalid("The body is not JSON that can be read.", [_fault("", str(error))]) from error
    if isinstance(data, dict) or (isinstance(data, list) and data):
        return data
    raise _invalid("The body is neither an event nor a list of events.", [_fault("", "expected an object or a list")])


def _faults(items: Iterable[object], bodies: list[bytes]) -> Iterator[Fault]:
    """Fill `bodies`, and find faults no faster than they are asked for."""
    for index, item in enumerate(items):
        try:
            bodies.append(orjson.dumps(item))
        except TypeError as error:  # a half surrogate pair
            yield _fault(f"/{index}", str(error))
        else:
            yield from _fault_of(bodies[-1], f"/{index}")


def _fault_of(body: bytes, at: str) -> list[Fault]:
    try:
        native.parse_event(body)
    except EventError as error:
        pointer = at + "".join(f"/{part}" for part in error.where.split(".") if part)
        return [_fault(pointer, f"{error.message} ({error.hint})" if error.hint else error.message)]
    return []


def _fault(pointer: str, detail: str) -> Fault:
    return Fault(location="body", pointer=pointer, detail=detail)


def _invalid(detail: str, faults: list[Fault]) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, detail, kind="invalid-event", errors=faults)
