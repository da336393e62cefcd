"""The application, put together."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from skyferry import __version__
from skyferry.config.settings import ServerSettings
from skyferry.server import problems
from skyferry.server.access_control import AccessControl, load_token
from skyferry.server.middleware import RequestMiddleware
from skyferry.server.openapi import document as openapi
from skyferry.server.openapi import page as pages
from skyferry.server.push.endpoints import PushEndpoints
from skyferry.server.routers import dead_letters, deletes, events, push, system, transfers, workers
from skyferry.server.service_port import ServicePort

NO_ENDPOINTS = PushEndpoints({}, {}, {})


def create_app(
    service: ServicePort,
    settings: ServerSettings,
    registry: CollectorRegistry,
    push_endpoints: PushEndpoints = NO_ENDPOINTS,
    workspace_token: str | None = None,
    workspace: str = "",
) -> FastAPI:
    """Return the API over a running service. /metrics shows `registry`, /v1/status the folder `workspace`.

    Where no token is configured, `workspace_token` admits our own user and every request that sends it; None admits the
    whole machine. Raises ConfigError if a token cannot be read.
    """
    app = create_routes()
    app.state.service, app.state.registry, app.state.push_endpoints = service, registry, push_endpoints
    app.state.workspace = workspace
    app.state.reading = asyncio.Lock()  # admits one large body at a time
    access = AccessControl(load_token(settings), workspace_token)
    app.add_middleware(RequestMiddleware, access=access, body_limit=settings.body_limit)
    return app


def create_routes() -> FastAPI:
    """Return the API without a service: everything that the OpenAPI document describes."""
    app = FastAPI(
        title="Skyferry",
        version=__version__,
        description="Copies each object to another cloud the moment it lands.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    problems.install_handlers(app)
    for router in (
        system.router,
        events.router,
        transfers.router,
        dead_letters.router,
        deletes.router,
        workers.router,
        push.router,
        pages.router,
    ):
        app.include_router(router)
    openapi.install_document(app)
    return app
