"""The HTTP API: health, readiness, metrics, and the resources under /v1. `docs/reference/api.md` explains it."""

from skyferry.server.access_control import check_listen
from skyferry.server.app import create_app
from skyferry.server.http_server import serve
from skyferry.server.push.endpoints import PushEndpoints

__all__ = ["PushEndpoints", "check_listen", "create_app", "serve"]
