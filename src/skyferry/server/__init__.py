"""The HTTP API: health, readiness, metrics, and the resources under /v1. `docs/reference/api.md` explains it."""

from skyferry.server.app import create_app
from skyferry.server.auth import check_listen
from skyferry.server.push.authenticators import Doors
from skyferry.server.run import serve

__all__ = ["Doors", "check_listen", "create_app", "serve"]
