"""Health, readiness, metrics and status."""

from __future__ import annotations

from http import HTTPStatus
from typing import cast

from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.responses import Response

from skyferry.server.middleware import AUTHENTICATED
from skyferry.server.models import CheckView, HealthView, ReadyView, StatusView
from skyferry.server.problems import ApiError, RequestFault
from skyferry.server.service_port import Service
from skyferry.status import HealthCheck

router = APIRouter(tags=["system"])


@router.get("/health")
async def health() -> HealthView:
    """Report that the process is alive."""
    return HealthView(status="ok")


@router.get("/ready")
async def ready(service: Service, request: Request) -> ReadyView:
    """Report whether the service can accept work: the ledger is writable, a queue is reachable, and it is not draining.

    Returns 200 with `ready`, or with `degraded` if it works but a queue or store is down or something waits for an operator.
    Responds at once from the last known state. Where a token is required, the checks are shown only to requests that
    contain it: they name files, hosts and accounts.
    """
    found = await service.ready()
    shown = found.checks if request.scope[AUTHENTICATED] else ()
    if not found.ready:
        faults = [RequestFault(location=_describe_part(c), detail=c.message) for c in shown if c.state != "ok"]
        hint = "" if request.scope[AUTHENTICATED] else "send the token to get the reasons"
        raise ApiError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The service cannot accept work now.",
            kind="not-ready",
            hint=hint,
            errors=faults,
        )
    checks = [CheckView.model_validate(check) for check in shown]
    return ReadyView(status="degraded" if found.degraded else "ready", checks=checks)


def _describe_part(check: HealthCheck) -> str:
    return check.part if check.name == check.part else f"{check.part} {check.name}"


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Return the metrics in the text format of Prometheus, or in OpenMetrics if the Accept header requests it."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    registry = cast(CollectorRegistry, request.app.state.registry)
    return Response(encode(registry), media_type=content_type)


@router.get("/v1/status")
async def status(service: Service, request: Request) -> StatusView:
    """Return queues, transfers by state, dead letters, circuit breakers and routes."""
    return StatusView.from_status(await service.status(), request.app.state.workspace)
