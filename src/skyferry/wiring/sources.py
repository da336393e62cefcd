"""The parts of a service that its sources of events need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from skyferry.config.settings import Settings
from skyferry.engine.context import EngineContext
from skyferry.engine.fleet.membership import FleetMembership
from skyferry.engine.fleet.sources import EventSource
from skyferry.frozen import dataclass
from skyferry.ports import EventQueue, ObjectStore
from skyferry.routing.routes import Routes
from skyferry.wiring.reports import SpecialReports

if TYPE_CHECKING:
    from skyferry.discovery.known_folder import KnownFolder


@dataclass(frozen=True, slots=True)
class SourceContext:
    """The parts of a service that sources of events need."""

    settings: Settings
    routes: Routes
    context: EngineContext
    stores: Mapping[str, ObjectStore]  # as the engine uses them
    queue: EventQueue  # takes events
    fleet: FleetMembership  # gives roles to sources
    folders: Mapping[str, KnownFolder]  # those that are watched, by store
    specials: SpecialReports  # takes what is neither a file nor a folder


FindSources = Callable[[SourceContext], Sequence[EventSource]]
