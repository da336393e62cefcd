"""Compiled routes: the transfers of an event. Pure.

A delete under a route that ignores deletes makes no transfer, nor does one that is half of an overwrite: they would have no
effect, so the ledger need not store them. The engine checks size and age later, when it sees the object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import field
from types import MappingProxyType
from typing import Literal

from skyferry.config.max_deletes import MaxDeletes
from skyferry.config.regions import region_of_store, routes_here
from skyferry.config.settings import FilterSettings, RouteSettings, Settings, UnfitSettings
from skyferry.config.urls import resolve_store
from skyferry.errors import ConfigError, EventError, NotFound
from skyferry.events.s3_keys import read_otherwise
from skyferry.frozen import dataclass, replace
from skyferry.model import Attributes, Change, ObjectEvent, ObjectRef, Priority, Provider, Transfer, transfer_id
from skyferry.routing.content_types import guess_content_type
from skyferry.routing.locations import StoreLocation
from skyferry.routing.origins import Address, Origins
from skyferry.routing.patterns import Template, compile_glob
from skyferry.routing.prefixes import PrefixIndex, start_of_keys
from skyferry.routing.rules import RouteRefusal, Rule, UnroutedEvent, compile_rules, find_refusal

NO_MARKS: Mapping[str, str] = MappingProxyType({})
# The usual handling. Routes have this very object, so that a copy finds it without comparing.
FAIL = UnfitSettings()
FEW = 8  # routes of one source, to each of which an event is compared
_EVERYTHING = Template.compile("{key}")


@dataclass(frozen=True, slots=True)
class Route:
    """A rule: the source store, the destination store and key, and the policies."""

    name: str
    source_store: str
    store: str  # name of the destination store
    source_provider: Provider = Provider.FILE
    source_bucket: str = "source"
    store_provider: Provider = Provider.FILE
    store_bucket: str = "destination"
    takes: Callable[[str], bool] = lambda key: True  # accepts a source key
    prefix: str = ""  # of its filter
    template: Template = _EVERYTHING
    deletes: Literal["ignore", "propagate"] = "ignore"
    max_deletes: MaxDeletes = field(default_factory=MaxDeletes)  # at once, found by looking
    after_copy: Literal["keep", "delete", "delete-unchecked"] = "keep"
    priority: Priority = Priority.NORMAL
    metadata: dict[str, str] = field(default_factory=dict)  # to set at the destination
    tags: dict[str, str] = field(default_factory=dict)  # the same
    storage_class: str | Mapping[str, str] = ""
    guess_content_type: bool = True
    folder_markers: Literal["copy", "skip"] = "copy"
    unfit: UnfitSettings = FAIL
    allow_loopback: bool = False  # an object may return to a store where it has been
    directed: bool = False  # an event may name its destination key, within the route's filter and key space
    ring: bool = False  # part of a ring that keeps stores alike: the latest write wins
    source_mark: str = ""  # the mark of the source in provenance; "" = provenance starts anew with each copy
    store_mark: str = ""  # that of the destination
    identities: tuple[str, ...] = ()  # see `Transfer.identities`
    min_size: int = 0  # bytes
    max_size: int | None = None
    min_age: float = 0.0  # seconds
    max_age: float | None = None
    rules: tuple[Rule, ...] = ()  # those of `takes`, one by one
    limits: str = ""  # what may skip an object after a look, as part of transfer ids; "" = nothing

    @property
    def source(self) -> Address:
        """Provider and bucket of the source in events."""
        return self.source_provider, self.source_bucket

    @property
    def destination(self) -> Address:
        """Provider and bucket of the destination in events."""
        return self.store_provider, self.store_bucket

    def carried(self, found: Attributes) -> Attributes:
        """Return the attributes for the copy, with tags and storage class of the route."""
        tags = {**found.tags, **self.tags} if self.tags else found.tags
        storage_class = self._class(found.storage_class)
        if tags is found.tags and storage_class == found.storage_class:
            return found
        return replace(found, tags=tags, storage_class=storage_class)

    def guess_type(self, key: str) -> str:
        """Return the content type that the name of a source object suggests; "" if none, or if it is not wanted."""
        wanted = self.guess_content_type and self.source_provider is not self.store_provider
        return guess_content_type(key) if wanted else ""

    def _class(self, found: str) -> str:
        wanted = self.storage_class
        if not isinstance(wanted, str):
            return wanted.get(found or "STANDARD", wanted.get("*", ""))
        if wanted == "keep" or (not wanted and self.source_provider is self.store_provider):
            return found
        return wanted


class Routes:
    """All routes of a configuration, by the source of an event."""

    def __init__(self, settings: Settings, marks: Mapping[str, str] = NO_MARKS, moved: Collection[str] = ()) -> None:
        """`settings` as `load` gives them, with the routes of all regions; `marks` are those of the stores, by name; `moved`
        names the stores that were others when the ledger met their names first. Raises ConfigError.
        """
        self.by_name = {r.name: _compiled(r, settings, marks, moved) for r in settings.routes}
        self._max_retries = settings.retry.max_retries
        here = {route.name for route in routes_here(settings)}
        self._by_source: dict[str, list[Route]] = {}  # those that run here, by the name of the store
        self._takers: dict[str, PrefixIndex[Route]] = {}  # the same by the beginnings of keys, where there are many
        self._elsewhere: dict[str, str] = {}  # the regions of the others, by the name of the source
        for name, route in self.by_name.items():
            if name in here:
                self._by_source.setdefault(route.source_store, []).append(route)
            else:
                self._elsewhere[route.source_store] = region_of_store(settings, route.source_store)
        starts = {route.name: start_of_keys(route.filter) for route in settings.routes}
        for store, routes in self._by_source.items():
            if len(routes) > FEW:
                self._takers[store] = PrefixIndex((starts[route.name], route) for route in routes)
        self._origins = Origins.of(settings)

    def __iter__(self) -> Iterator[Route]:
        """Iterate over the routes that this worker runs, in the order of the configuration."""
        return (route for route in self.by_name.values() if route.source_store not in self._elsewhere)

    def route(self, name: str) -> Route:
        """Return a route by name. Raises NotFound."""
        if name not in self.by_name:
            raise NotFound(f"there is no route {name!r}", hint=f"routes: {', '.join(self.by_name) or 'none'}")
        return self.by_name[name]

    def match(self, event: ObjectEvent, queue: str = "") -> list[Transfer]:
        """One transfer per route that takes the event, in the order of the configuration; [] for an unknown bucket.

        `queue` is the name of the queue that brought it, whose settings may say which stores it brings events of.

        An event that names its destination goes there, under the key it gives, by the first route between the two that
        grants it. Raises EventError if none does.
        """
        found = self._origins.find(event, queue)
        event, routes = found.event, self._by_source.get(found.store, [])
        if found.doubtful or (event.overwritten and event.change is Change.DELETED):
            return []
        if event.destination is not None:
            return self._directed(event, event.destination, routes)
        transfers = self._routed(event, found.store)
        if (other := read_otherwise(event)) is None:
            return transfers
        otherwise = tuple(self._routed(other, found.store))
        return [replace(t, otherwise=otherwise) for t in transfers] or list(otherwise)

    def _routed(self, event: ObjectEvent, store: str) -> list[Transfer]:
        key, takers = event.source.key, self._takers.get(store)
        routes = self._by_source.get(store, ()) if takers is None else takers.find(key)
        return [self._transfer(r, event, r.template.render(event)) for r in routes if r.takes(key) and _heeds(r, event)]

    def untaken(self, event: ObjectEvent, queue: str = "") -> UnroutedEvent:
        """Why `match` gave nothing for this event: no store is its bucket, or every route from there refuses it."""
        found = self._origins.find(event, queue)
        event, source = found.event, found.event.source
        if not found.store:
            return UnroutedEvent(known=False, account=found.contradicted, hint=found.hint)
        if event.overwritten and event.change is Change.DELETED:
            return UnroutedEvent(
                True, (RouteRefusal("", "the delete is half of an overwrite: the new object has its own event"),)
            )
        if region := self._elsewhere.get(found.store, ""):
            there = (r.name for r in self.by_name.values() if r.source_store == found.store)
            return UnroutedEvent(
                True, tuple(RouteRefusal(n, f"run_in: source, which is in {region}") for n in there), region
            )
        routes = self._by_source.get(found.store, [])
        if not routes:
            return UnroutedEvent(True, (RouteRefusal("", f"no route reads from {source.provider}://{source.bucket}"),))
        return UnroutedEvent(
            True, tuple(RouteRefusal(r.name, find_refusal(r.rules, source.key) or "deletes: ignore") for r in routes)
        )

    def leads(self, transfer: Transfer) -> bool:
        """Return whether the route of this transfer exists, connects these stores, and accepts it."""
        route, source = self.by_name.get(transfer.route), transfer.source
        return (
            route is not None
            and (route.source_store, route.store) == (transfer.source_store, transfer.store)
            and route.source == (source.provider, source.bucket)
            and not self._origins.refuse(route.source_store, source)
            and route.takes(source.key)
            and (transfer.change is Change.CREATED or route.deletes == "propagate")
        )

    def _directed(self, event: ObjectEvent, wanted: ObjectRef, routes: list[Route]) -> list[Transfer]:
        there = [r for r in routes if r.destination == (wanted.provider, wanted.bucket)]
        if not there:
            raise EventError(
                f"no route leads from {event.source.provider}://{event.source.bucket} to {wanted.provider}://{wanted.bucket}",
                hint="destination not configured: add a route, or leave the destination out of the event",
            )
        route = find_directed_route(there, event.source, wanted)
        return [self._transfer(route, event, wanted.key)] if _heeds(route, event) else []

    def _transfer(self, route: Route, event: ObjectEvent, key: str) -> Transfer:
        return Transfer(
            transfer_id(route.name + route.limits, event, route.store, key),
            route.name,
            event.change,
            event.source,
            route.source_store,
            route.store,
            key,
            event.event_id,
            event.correlation_id,
            event.occurred_at,
            event.position,
            event.size,
            event.checksums,
            event.content_type,
            self._max_retries if event.max_retries is None else event.max_retries,
            event.priority or route.priority,
            event.traceparent,
            identities=route.identities,
            absent=event.absent,
        )


def find_directed_route(routes: Sequence[Route], source: ObjectRef, wanted: ObjectRef) -> Route:
    """Return the first of these routes that lets an event direct this source to this key. Raises EventError."""
    for route in routes:
        if not (route.directed and route.takes(source.key)):
            continue
        if wanted.key.startswith(route.template.start(source.bucket, route.prefix)):
            return route
    directed = [r for r in routes if r.directed]
    taking = [r for r in directed if r.takes(source.key)]
    names = ", ".join(r.name for r in taking or directed or routes)
    if not directed:
        raise EventError(
            f"events may not name the destination key under route {names}",
            where="destination",
            hint="Leave the destination out of the event, or set `directed: true` on the route.",
        )
    if not taking:
        raise EventError(
            f"the filter of route {names} does not take {source.key}",
            where="destination",
            hint="Name an object that the filter takes: a destination does not widen it.",
        )
    spaces = ", ".join(repr(r.template.start(source.bucket, r.prefix)) for r in taking)
    raise EventError(
        f"{wanted.key} is outside of the keys that route {names} writes",
        where="destination.key",
        hint=f"Give a key that begins with {spaces}.",
    )


def compile_filter(settings: FilterSettings) -> Callable[[str], bool]:
    """Return a test of keys. Raises ValueError for an invalid glob."""
    prefix, suffix = settings.prefix, settings.suffix
    wanted, refused = _any(settings.glob), _any(settings.exclude)
    if wanted is None and refused is None:
        return lambda key: key.startswith(prefix) and key.endswith(suffix)

    def takes(key: str) -> bool:
        return (
            key.startswith(prefix)
            and key.endswith(suffix)
            and (wanted is None or wanted.fullmatch(key) is not None)
            and (refused is None or refused.fullmatch(key) is None)
        )

    return takes


def _list_limits(route: RouteSettings) -> str:
    """Return the settings by which a look at an object may end as skipped. When they change, its transfer is a new one."""
    accepts = route.filter
    limits = (accepts.min_size, accepts.max_size, accepts.max_age, route.folder_markers, route.allow_loopback)
    return "" if limits == (0, None, None, "copy", False) else f"\0{limits}"


def _any(globs: tuple[str, ...]) -> re.Pattern[str] | None:
    return re.compile("|".join(f"(?:{compile_glob(g).pattern})" for g in globs), re.DOTALL) if globs else None


def _heeds(route: Route, event: ObjectEvent) -> bool:
    return event.change is Change.CREATED or route.deletes == "propagate"


def _compiled(route: RouteSettings, settings: Settings, marks: Mapping[str, str], moved: Collection[str]) -> Route:
    try:
        source, destination = (
            resolve_store(settings.stores[name]).address for name in (route.source, route.destination)
        )
        identity = StoreLocation.of(settings.stores[route.destination], settings.workspace).identity(settings.workspace)
        return Route(
            name=route.name,
            source_store=route.source,
            store=route.destination,
            source_provider=source[0],
            source_bucket=source[1],
            store_provider=destination[0],
            store_bucket=destination[1],
            takes=compile_filter(route.filter),
            prefix=route.filter.prefix,
            template=Template.compile(route.key),
            deletes=route.deletes,
            max_deletes=MaxDeletes.parse(route.max_deletes),
            after_copy=route.after_copy,
            priority=route.priority,
            metadata=route.metadata,
            tags=route.tags,
            storage_class=route.storage_class,
            guess_content_type=route.guess_content_type,
            folder_markers=route.folder_markers,
            unfit=FAIL if route.unfit == FAIL else route.unfit,
            allow_loopback=route.allow_loopback,
            directed=route.directed,
            ring=route.ring == "allow",
            source_mark=marks.get(route.source, ""),
            store_mark=marks.get(route.destination, ""),
            identities=(identity,) if route.destination in moved else (identity, ""),
            min_size=route.filter.min_size,
            max_size=route.filter.max_size,
            min_age=route.filter.min_age,
            max_age=route.filter.max_age,
            rules=compile_rules(route.filter, compile_filter),
            limits=_list_limits(route),
        )
    except KeyError as error:
        raise ConfigError(f"there is no store {error}", where=f"route {route.name}") from error
    except ValueError as error:
        raise ConfigError(str(error), where=f"route {route.name}") from error
