"""Rings of routes: routes copy each other's copies, until the first route copies one again. Pure.

The search follows keys that match the filters through filters and templates, over any number of stores and nested folders.
Provenance also ends rings that no such key reveals (`engine/copy/provenance.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from skyferry.config.settings import RouteSettings
from skyferry.frozen import dataclass
from skyferry.routing.locations import StoreLocation
from skyferry.routing.patterns import Template
from skyferry.routing.routes import compile_filter
from skyferry.routing.samples import example_keys, fill_glob, render_key

STEPS = 20_000  # copies to follow, for all routes of one group
LEAST = 100  # for each route
KEYS = 500  # keys to try for each route


@dataclass(frozen=True, slots=True)
class RouteRing:
    """Routes by which a copy returns, and the path of one key."""

    routes: tuple[int, ...]  # indices, in the order of the copies
    keys: tuple[str, ...]  # the source key of each route, and last the one that the first route copies again

    def describe(self, routes: Sequence[RouteSettings]) -> str:
        """Describe the ring, route by route."""
        steps = zip(self.routes, self.keys, self.keys[1:], strict=False)
        names = [
            f"{routes[i].name} ({routes[i].source} to {routes[i].destination}) {key} as {made}"
            for i, key, made in steps
        ]
        return f"{', '.join(names)}, which {routes[self.routes[0]].name} takes again"


def find_rings(routes: Sequence[RouteSettings], places: Mapping[str, StoreLocation]) -> Iterator[RouteRing]:
    """Yield each ring once. Routes whose stores are not in `places` are left out."""
    known = [i for i, r in enumerate(routes) if r.source in places and r.destination in places]
    after = {i: [j for j in known if places[routes[i].destination].meets(places[routes[j].source])] for i in known}
    found: set[frozenset[int]] = set()
    for group in _circles(after):
        walk = _Walk(routes, places, {i: [j for j in after[i] if j in group] for i in group})
        for ring in walk.rings():
            if frozenset(ring.routes) not in found:
                found.add(frozenset(ring.routes))
                yield ring


def _circles(after: Mapping[int, Sequence[int]]) -> list[frozenset[int]]:
    """Return the groups of routes that all lead to each other and to themselves."""
    reach: dict[int, set[int]] = {}
    for start in after:
        seen, left = set[int](), list(after[start])
        while left:
            if (i := left.pop()) not in seen:
                seen.add(i)
                left += after[i]
        reach[start] = seen
    return list(dict.fromkeys(frozenset(j for j in reach[i] if i in reach[j]) for i in after if i in reach[i]))


class _Walk:
    """Follows keys through the routes of one group."""

    def __init__(
        self, routes: Sequence[RouteSettings], places: Mapping[str, StoreLocation], after: Mapping[int, Sequence[int]]
    ) -> None:
        self._routes, self._places, self._after = routes, places, after
        self._takes = {i: compile_filter(routes[i].filter) for i in after}
        self._steps = max(LEAST, STEPS // len(after))
        self._templates = {i: Template.compile(routes[i].key) for i in after}

    def rings(self) -> Iterator[RouteRing]:
        for start in sorted(self._after):
            seen: set[tuple[int, str]] = set()
            for key in self._keys(start):
                yield from self._follow((start,), (key,), seen)

    def _follow(self, path: tuple[int, ...], keys: tuple[str, ...], seen: set[tuple[int, str]]) -> Iterator[RouteRing]:
        last = path[-1]
        if (last, keys[-1]) in seen or len(seen) >= self._steps:
            return
        seen.add((last, keys[-1]))
        route = self._routes[last]
        made = render_key(self._templates[last], keys[-1], route.source)
        for i in self._after[last]:
            key = self._places[route.destination].shows(made, self._places[self._routes[i].source])
            if key is None or not self._takes[i](key):
                continue
            if i in path:
                at = path.index(i)
                yield RouteRing(path[at:], (*keys[at:], key))
            else:
                yield from self._follow((*path, i), (*keys, key), seen)

    def _keys(self, start: int) -> list[str]:
        """Return keys that the route accepts, made from the filters and templates of the group."""
        group = [self._routes[i] for i in self._after]
        added = [r.key for r in group]
        heads = _rests([r.filter.prefix for r in group], [t.partition("{")[0] for t in added], front=True)
        tails = _rests([r.filter.suffix for r in group], [t.rpartition("}")[2] for t in added], front=False)
        filled = [text for r in group for pattern in r.filter.glob for text in fill_glob(pattern)]
        middles = [*filled, "x", "x.c", "a/x.c"]
        keys = example_keys(self._routes[start].filter, self._takes[start])
        keys += [head + middle + tail for middle, head, tail in product(middles, heads, tails)]
        return [key for key in dict.fromkeys(keys) if self._takes[start](key)][:KEYS]


def _rests(wanted: Sequence[str], added: Sequence[str], *, front: bool) -> list[str]:
    """Return the beginnings (or ends) of keys that are wanted, directly or after a template has added its text."""
    found = {"": None, **dict.fromkeys(wanted)}
    for text, own in product(wanted, added):
        if own and (text.startswith(own) if front else text.endswith(own)):
            found[text[len(own) :] if front else text[: -len(own)]] = None
    return list(found)
