"""Whether it lives, whether it can work, what it counts, how it stands."""

from __future__ import annotations

from http import HTTPStatus
from typing import cast

from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.responses import Response

from skyferry.server.middleware import KNOWN
from skyferry.server.models import Answer, CheckView, ReadyView, StatusView
from skyferry.server.problems import ApiError, Fault
from skyferry.server.service_port import Service
from skyferry.status import HealthCheck

router = APIRouter(tags=["system"])


@router.get("/health")
async def health() -> Answer:
    """The process answers."""
    return Answer(status="ok")


@router.get("/ready")
async def ready(service: Service, request: Request) -> ReadyView:
    """It can take work: the ledger is writable, a queue is reachable, and it is not draining; then the answer is 200.

    `degraded` is 200 too: it works, but a queue or a store is down, or something waits for an operator. The answer comes
    from what is known, at once. Where there is a token, the checks are shown only to who sends it: they name
    files, hosts and accounts.
    """
    found = await service.ready()
    shown = found.checks if request.scope[KNOWN] else ()
    if not found.ready:
        faults = [Fault(location=_place(c), detail=c.message) for c in shown if c.state != "ok"]
        hint = "" if request.scope[KNOWN] else "the answer says why to who sends the token"
        raise ApiError(
            HTTPStatus.SERVICE_UNAVAILABLE, "It cannot take work now.", kind="not-ready", hint=hint, errors=faults
        )
    checks = [CheckView.model_validate(check) for check in shown]
    return ReadyView(status="degraded" if found.degraded else "ready", checks=checks)


def _place(check: HealthCheck) -> str:
    return check.part if check.name == check.part else f"{check.part} {check.name}"


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
