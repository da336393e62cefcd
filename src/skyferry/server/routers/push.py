"""The doors that providers push notifications through. What comes in is in the queue, durably, before the answer."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from skyferry.ports import Outgoing
from skyferry.server.problems import ApiError
from skyferry.server.push.dead_letters import carried
from skyferry.server.push.endpoints import Doors, Knock
from skyferry.server.service_port import Service

router = APIRouter(prefix="/v1/push", tags=["push"])
_BODY = {"required": True, "content": {"application/json": {"schema": {}}}}


def _doors(request: Request) -> Doors:
    return cast(Doors, request.app.state.doors)


Open = Annotated[Doors, Depends(_doors)]


@router.post("/{endpoint}", openapi_extra={"requestBody": _BODY})
async def push(endpoint: str, request: Request, service: Service, doors: Open) -> Response:
    """Take a notification of the provider that the endpoint is configured for, durably, as it was sent or signed.

    Pub/Sub and Event Grid send a token, SNS a signature, others a secret; what does not prove who sent it is refused.
    """
    return await _push(endpoint, request.query_params.get("secret", ""), request, service, doors)


@router.post("/{endpoint}/{secret}", include_in_schema=False)
async def push_by_path(endpoint: str, secret: str, request: Request, service: Service, doors: Open) -> Response:
    """The same for those who can send neither header nor query."""
    return await _push(endpoint, secret, request, service, doors)


async def _push(endpoint: str, secret: str, request: Request, service: Service, doors: Doors) -> Response:
    door = doors.doors.get(endpoint)
    if door is None:
        raise ApiError(HTTPStatus.NOT_FOUND, "There is no such push endpoint.")
    admitted = await door.admit(Knock(request.headers, secret, request.body))
    if admitted.message:
        dedup_id = f"push:{endpoint}:{admitted.id}" if admitted.id else ""
        body = admitted.body or await request.body()
        await service.accept(doors.queues[endpoint], [Outgoing(body, carried(body), dedup_id=dedup_id)])
    return JSONResponse(dict(admitted.reply))


@router.options("/{endpoint}", include_in_schema=False)
@router.options("/{endpoint}/{secret}", include_in_schema=False)
async def allow(endpoint: str, request: Request, doors: Open) -> Response:
    """May this origin push? (CloudEvents 1.0, HTTP webhook, abuse protection.) A yes lets nobody in by itself."""
    origin = request.headers.get("webhook-request-origin", "")
    if origin not in doors.origins.get(endpoint, ()):
        raise ApiError(HTTPStatus.FORBIDDEN, "This origin may not push here.", kind="foreign-origin")
    return Response(headers={"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*", "Allow": "POST"})
