"""Messages to transfers, by the routes of a simulated world."""

from __future__ import annotations

from typing import Any

from skyferry.events.detect import Parsed, parse_message
from skyferry.model import ObjectEvent, Transfer
from skyferry.routing.routes import Routes
from skyferry.routing.rules import Untaken


class Reader:
    """See `skyferry.engine.consume.intake.Reader`."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    def parse(self, body: bytes, attributes: Any) -> Parsed:
        return parse_message(body, attributes)

    def match(self, event: ObjectEvent, queue: str = "") -> list[Transfer]:
        return self._routes.match(event, queue)

    def untaken(self, event: ObjectEvent, queue: str = "") -> Untaken:
        return self._routes.untaken(event, queue)
