"""The application, put together."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from skyferry import __version__
from skyferry.config.settings import ServerSettings
from skyferry.server import problems
from skyferry.server.access_control import Access, token_of
from skyferry.server.middleware import Gate
from skyferry.server.openapi import document as openapi
from skyferry.server.openapi import page as pages
from skyferry.server.push.endpoints import Doors
from skyferry.server.routers import dead_letters, deletes, events, push, system, transfers
from skyferry.server.service_port import ServiceView

CLOSED = Doors({}, {}, {})


def create_app(
    service: ServiceView,
    settings: ServerSettings,
    registry: CollectorRegistry,
    doors: Doors = CLOSED,
    own_token: str | None = None,
) -> FastAPI:
    """The API over a running service; /metrics shows `registry`, providers push through `doors`.

    Where no token is configured, `own_token` lets in our own user and whatever sends that token; None: the whole machine.
    Raises ConfigError for a token that cannot be read.
    """
    app = routes()
    app.state.service, app.state.registry, app.state.doors = service, registry, doors
    app.state.reading = asyncio.Lock()  # for one large body at a time
    app.add_middleware(Gate, access=Access(token_of(settings), own_token), body_limit=settings.body_limit)
    return app


def routes() -> FastAPI:
    """Everything that can be described without a service."""
    app = FastAPI(
        title="Skyferry",
        version=__version__,
        description="Copies each object to another cloud the moment it lands.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    problems.install(app)
    for router in (
        system.router,
        events.router,
        transfers.router,
        dead_letters.router,
        deletes.router,
        push.router,
        pages.router,
    ):
        app.include_router(router)
    openapi.install(app)
    return app
