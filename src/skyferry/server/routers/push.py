"""Push endpoints: each notification is stored in its queue, durably, before the answer is sent."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from skyferry.ports import Outgoing
from skyferry.server.problems import ApiError
from skyferry.server.push.authenticator import PushRequest
from skyferry.server.push.dead_letters import find_reference
from skyferry.server.push.endpoints import PushEndpoints
from skyferry.server.service_port import Service

router = APIRouter(prefix="/v1/push", tags=["push"])
_BODY = {"required": True, "content": {"application/json": {"schema": {}}}}


def _endpoints(request: Request) -> PushEndpoints:
    return cast(PushEndpoints, request.app.state.push_endpoints)


Endpoints = Annotated[PushEndpoints, Depends(_endpoints)]


@router.post("/{endpoint}", openapi_extra={"requestBody": _BODY})
async def push(endpoint: str, request: Request, service: Service, endpoints: Endpoints) -> Response:
    """Store one notification of the endpoint's provider in the queue, durably, as it was sent or signed.

    Pub/Sub, Eventarc and Event Grid authenticate by a token, SNS and Backblaze B2 by a signature, others by a shared secret. Other
    requests are rejected.
    """
    return await _push(endpoint, request.query_params.get("secret", ""), request, service, endpoints)


@router.post("/{endpoint}/{secret}", include_in_schema=False)
async def push_by_path(
    endpoint: str, secret: str, request: Request, service: Service, endpoints: Endpoints
) -> Response:
    """Serve senders that can set neither a header nor a query."""
    return await _push(endpoint, secret, request, service, endpoints)


async def _push(endpoint: str, secret: str, request: Request, service: Service, endpoints: PushEndpoints) -> Response:
    authenticator = endpoints.authenticators.get(endpoint)
    if authenticator is None:
        raise ApiError(HTTPStatus.NOT_FOUND, "The push endpoint does not exist.")
    proven = await authenticator.authenticate(PushRequest(request.headers, secret, request.body))
    if proven.message:
        dedup_id = f"push:{endpoint}:{proven.id}" if proven.id else ""
        body = proven.body or await request.body()
        message = Outgoing(body, find_reference(body), dedup_id=dedup_id)
        await service.accept(endpoints.queues[endpoint], [message])
    return JSONResponse(dict(proven.reply))


@router.options("/{endpoint}", include_in_schema=False)
@router.options("/{endpoint}/{secret}", include_in_schema=False)
async def allow(endpoint: str, request: Request, endpoints: Endpoints) -> Response:
    """Allow a configured origin to push (CloudEvents 1.0, HTTP webhook, abuse protection). A push must still authenticate."""
    origin = request.headers.get("webhook-request-origin", "")
    if origin not in endpoints.origins.get(endpoint, ()):
        hint = "add it to `origins` of this push endpoint"
        raise ApiError(HTTPStatus.FORBIDDEN, "The origin may not push here.", kind="foreign-origin", hint=hint)
    return Response(headers={"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*", "Allow": "POST"})
