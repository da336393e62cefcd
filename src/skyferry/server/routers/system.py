"""Whether it lives, whether it can work, what it counts, how it stands."""

from __future__ import annotations

from http import HTTPStatus
from typing import cast

from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.responses import Response

from skyferry.server.gate import KNOWN
from skyferry.server.models import Answer, StatusView
from skyferry.server.problems import ApiError, Fault
from skyferry.server.view import Service

router = APIRouter(tags=["system"])


@router.get("/health")
async def health() -> Answer:
    """The process answers."""
    return Answer(status="ok")


@router.get("/ready")
async def ready(service: Service, request: Request) -> Answer:
    """It can take work: the ledger is writable, the queues are reachable, and it is not draining.

    Where there is a token, the reasons are told only to who sends it: they name files, hosts and accounts.
    """
    problems = await service.ready()
    if problems:
        known = request.scope[KNOWN]
        faults = [Fault(location="service", detail=problem) for problem in problems if known]
        hint = "" if known else "the answer says why to who sends the token"
        raise ApiError(
            HTTPStatus.SERVICE_UNAVAILABLE, "It cannot take work now.", kind="not-ready", hint=hint, errors=faults
        )
    return Answer(status="ready")


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """For Prometheus: the text format, or OpenMetrics where the Accept header asks for it."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    registry = cast(CollectorRegistry, request.app.state.registry)
    return Response(encode(registry), media_type=content_type)


@router.get("/v1/status")
async def status(service: Service) -> StatusView:
    """Queues, transfers by state, dead letters, breakers, routes."""
    return StatusView.of(await service.status())
