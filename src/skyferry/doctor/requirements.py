"""The requirements of the routes for each store. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from skyferry.config.regions import routes_here
from skyferry.config.settings import FilterSettings, RouteSettings, Settings
from skyferry.frozen import dataclass
from skyferry.model import ObjectMeta
from skyferry.routing.routes import compile_filter

_WILD = re.compile(r"[*?\[\]{}\\]")


@dataclass(frozen=True, slots=True)
class KeyShape:
    """The beginning and the end of keys."""

    prefix: str = ""
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class StoreRequirements:
    """The requirements of the routes for one store."""

    store: str
    reads: tuple[str, ...] = ()  # prefixes that are read; none = it is no source
    writes: bool = False
    deletes: bool = False  # deletes are propagated to it
    removes: bool = False  # its objects are deleted once they are copied
    filters: tuple[FilterSettings, ...] = ()  # of the routes that read it

    def taken(self) -> Callable[[ObjectMeta], bool]:
        """Return a test for objects that a route accepts by key and size, at some age."""
        rules = [(compile_filter(each), each.min_size, each.max_size) for each in self.filters]
        return lambda meta: any(
            takes(meta.key) and least <= meta.size and (most is None or meta.size <= most)
            for takes, least, most in rules
        )


def require_stores(settings: Settings) -> list[StoreRequirements]:
    """Return the requirements for each store that a route uses, in the order of the configuration."""
    used = {name for route in routes_here(settings) for name in (route.source, route.destination)}
    return [_of(name, routes_here(settings)) for name in settings.stores if name in used]


def _of(store: str, routes: tuple[RouteSettings, ...]) -> StoreRequirements:
    out = [route for route in routes if route.source == store]
    into = [route for route in routes if route.destination == store]
    return StoreRequirements(
        store=store,
        reads=tuple(dict.fromkeys(route.filter.prefix for route in out)),
        writes=bool(into),
        deletes=any(route.deletes == "propagate" for route in into),
        removes=any(route.after_copy != "keep" for route in out),
        filters=tuple(route.filter for route in out),
    )


def key_shapes(wanted: FilterSettings) -> list[KeyShape]:
    """Return the shapes of keys that a filter accepts. Of a glob, the fixed beginning and end count."""
    return [KeyShape(*pair) for pair in dict.fromkeys(_pairs(wanted))]


def _pairs(wanted: FilterSettings) -> Iterator[tuple[str, str]]:
    for glob in wanted.glob or ("*",):
        head, tail = _WILD.split(glob)[0], _WILD.split(glob)[-1] if _WILD.search(glob) else glob
        yield max(head, wanted.prefix, key=len), max(tail, wanted.suffix, key=len)
