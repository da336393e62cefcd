"""Messages to transfers, by the routes of a simulated world."""

from __future__ import annotations

from typing import Any

from skyferry.config.refusing import Untaken
from skyferry.config.routes import Routes
from skyferry.events.detect import Parsed, parse
from skyferry.model import ObjectEvent, Transfer


class Reader:
    """See `skyferry.engine.intake.Reader`."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    def parse(self, body: bytes, attributes: Any) -> Parsed:
        return parse(body, attributes)

    def match(self, event: ObjectEvent) -> list[Transfer]:
        return self._routes.match(event)

    def untaken(self, event: ObjectEvent) -> Untaken:
        return self._routes.untaken(event)
