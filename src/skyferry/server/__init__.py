"""The HTTP API: health, readiness, metrics, and the resources under /v1. `docs/reference/api.md` explains it.

The names are imported on first use: commands that only ask a service must not pay for the framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skyferry.server.access_control import check_listen
    from skyferry.server.app import create_app
    from skyferry.server.http_server import serve
    from skyferry.server.push.endpoints import PushEndpoints
    from skyferry.server.starting_service import StartingService

__all__ = ["PushEndpoints", "StartingService", "check_listen", "create_app", "serve"]
_MODULES = {
    "PushEndpoints": "push.endpoints",
    "StartingService": "starting_service",
    "check_listen": "access_control",
    "create_app": "app",
    "serve": "http_server",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
