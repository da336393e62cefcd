"""Event submission."""

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
from skyferry.server.problems import MAX_FAULTS, ApiError, RequestFault
from skyferry.server.service_port import Service

router = APIRouter(prefix="/v1", tags=["events"])
LARGE = (
    64 * 2**10
)  # bytes; longer bodies are parsed in a thread, one at a time: the objects take forty times the memory
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
    """Store one event or a list of events in the queue, durably. The same event gets the same response, and is copied once.

    One invalid event rejects the whole request; the response lists every fault.
    """
    body = await request.body()
    if len(body) <= LARGE:
        return Submissions.from_results(await service.submit(_parse_events(body)))
    async with cast(asyncio.Lock, request.app.state.reading):
        bodies = await asyncio.to_thread(_parse_events, body)
    return Submissions.from_results(await service.submit(bodies))


def _parse_events(body: bytes) -> list[bytes]:
    """Return the events of a request. Raises ApiError if one is invalid."""
    items, bodies = _parse_items(body), list[bytes]()
    if isinstance(items, dict):
        bodies, faults = [body], _find_faults(body, "")
    else:
        faults = list(islice(_check_items(items, bodies), MAX_FAULTS))
    if faults:
        raise _invalid("An event is invalid; no event was accepted.", faults)
    return bodies


def _parse_items(body: bytes) -> list[object] | dict[str, object]:
    """Return the list in a request, or its single event."""
    try:
        data = orjson.loads(body)
    except ValueError as error:
        raise _invalid("The body is not valid JSON.", [_fault("", str(error))]) from error
    if isinstance(data, dict) or (isinstance(data, list) and data):
        return data
    raise _invalid("The body is neither an event nor a list of events.", [_fault("", "expected an object or a list")])


def _check_items(items: Iterable[object], bodies: list[bytes]) -> Iterator[RequestFault]:
    """Append the items to `bodies`. Yield the faults one at a time, so that the caller can stop early."""
    for index, item in enumerate(items):
        try:
            bodies.append(orjson.dumps(item))
        except TypeError as error:  # a half surrogate pair
            yield _fault(f"/{index}", str(error))
        else:
            yield from _find_faults(bodies[-1], f"/{index}")


def _find_faults(body: bytes, at: str) -> list[RequestFault]:
    try:
        native.parse_event(body)
    except EventError as error:
        pointer = at + "".join(f"/{part}" for part in error.where.split(".") if part)
        return [_fault(pointer, f"{error.message} ({error.hint})" if error.hint else error.message)]
    return []


def _fault(pointer: str, detail: str) -> RequestFault:
    return RequestFault(location="body", pointer=pointer, detail=detail)


def _invalid(detail: str, faults: list[RequestFault]) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, detail, kind="invalid-event", errors=faults)
