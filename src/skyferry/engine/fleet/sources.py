"""Sources of events: what this process finds by looking."""

from __future__ import annotations

from typing import Protocol

from skyferry.engine.fleet.roles import Role
from skyferry.errors import SkyferryError


class EventSource(Protocol):
    """Finds events in this process, such as a watched folder."""

    @property
    def idle(self) -> bool:
        """True if every event found so far has been sent, and no more can be found because of `failure`."""

    @property
    def failure(self) -> SkyferryError | None:
        """The error because of which events are missing until a person corrects it, or None."""

    async def run(self) -> None:
        """Find and send events until cancelled."""


class RoleSource:
    """An `EventSource` that runs under a role. Several runs of it follow each other: each looks for what was missed."""

    def __init__(self, source: EventSource, role: Role) -> None:
        self._source, self._role = source, role

    @property
    def idle(self) -> bool:
        return self._source.idle

    @property
    def failure(self) -> SkyferryError | None:
        return self._source.failure

    async def run(self) -> None:
        await self._role.run(self._source.run)
