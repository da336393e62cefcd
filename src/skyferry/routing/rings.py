"""Rings of routes: routes copy each other's copies, until the first route copies one again. Pure.

The search follows keys that match the filters through filters and templates, over any number of stores and nested folders.
Provenance also ends rings that no such key reveals (`engine/copy/provenance.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import chain, islice, product
from pathlib import Path
from typing import TypeVar

from skyferry.config.settings import RouteSettings
from skyferry.frozen import dataclass
from skyferry.routing.locations import StoreLocation
from skyferry.routing.patterns import Template
from skyferry.routing.prefixes import PrefixIndex, start_of_keys
from skyferry.routing.routes import compile_filter
from skyferry.routing.samples import example_keys, fill_glob, render_key

STEPS = 20_000  # copies to follow, for all routes of one group
LEAST = 100  # for each route
KEYS = 500  # keys to follow for each route
TRIES = 5_000_000  # combinations to make of beginnings, middles and ends, for all routes of one group
N = TypeVar("N", bound=Hashable)


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
    ways = _Ways(routes, places)
    found: set[frozenset[int]] = set()
    for group in ways.find_circles():
        for ring in _Walk(routes, places, ways, group).rings():
            if frozenset(ring.routes) not in found:
                found.add(frozenset(ring.routes))
                yield ring


class _Ways:
    """The sources where the copies of each route appear. Routes between the same stores share them."""

    def __init__(self, routes: Sequence[RouteSettings], places: Mapping[str, StoreLocation]) -> None:
        self._routes = routes
        self._readers: dict[str, list[int]] = {}  # routes by source
        for i, route in enumerate(routes):
            if route.source in places and route.destination in places:
                self._readers.setdefault(route.source, []).append(i)
        sources = {name: places[name] for name in self._readers}
        read = [i for group in self._readers.values() for i in group]
        self._behind = find_meeting(sources, {routes[i].destination: places[routes[i].destination] for i in read})

    def behind(self, route: int) -> Sequence[str]:
        """Return the sources where its copies appear."""
        return self._behind[self._routes[route].destination]

    def find_circles(self) -> list[list[int]]:
        """Return the groups of routes that all lead to each other and to themselves."""
        after = dict[str | int, Sequence[str | int]]()
        after.update((name, group) for name, group in self._readers.items())
        after.update((i, self.behind(i)) for group in self._readers.values() for i in group)
        groups = ([i for i in group if isinstance(i, int)] for group in _connect(after) if len(group) > 1)
        return sorted(sorted(group) for group in groups)


def find_meeting(
    sources: Mapping[str, StoreLocation], destinations: Mapping[str, StoreLocation]
) -> dict[str, list[str]]:
    """Return the sources where objects of each destination may appear."""
    same: dict[tuple[str, ...], list[str]] = {}
    within: dict[Path, list[str]] = {}  # by each folder around a source, and its own
    for name, place in sources.items():
        same.setdefault(place.parts, []).append(name)
        for folder in (place.folder, *place.folder.parents) if place.folder else ():
            within.setdefault(folder, []).append(name)
    return {
        name: [
            *within.get(place.folder, ()),
            *(each for up in place.folder.parents for each in same.get(_file(up), ())),
        ]
        if place.folder
        else same.get(place.parts, [])
        for name, place in destinations.items()
    }


def _file(folder: Path) -> tuple[str, ...]:
    return "file", str(folder)


def _connect(after: Mapping[N, Sequence[N]]) -> Iterator[list[N]]:
    """Yield the strongly connected components of a graph, by Tarjan's algorithm."""
    order: dict[N, int] = {}
    low: dict[N, int] = {}
    stack: list[N] = []
    done: set[N] = set()
    for root in after:
        if root in order:
            continue
        path = [(root, iter(after[root]))]
        order[root] = low[root] = len(order)
        stack.append(root)
        while path:
            node, left = path[-1]
            for other in left:
                if other not in order:
                    order[other] = low[other] = len(order)
                    stack.append(other)
                    path.append((other, iter(after[other])))
                    break
                if other not in done:
                    low[node] = min(low[node], order[other])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[node])
                if low[node] == order[node]:
                    at = stack.index(node)
                    done.update(stack[at:])
                    yield stack[at:]
                    del stack[at:]


class _Walk:
    """Follows keys through the routes of one group."""

    def __init__(
        self,
        routes: Sequence[RouteSettings],
        places: Mapping[str, StoreLocation],
        ways: _Ways,
        group: Sequence[int],
    ) -> None:
        self._routes, self._places, self._ways, self._group = routes, places, ways, group
        self._takes = {i: compile_filter(routes[i].filter) for i in group}
        self._steps = max(LEAST, STEPS // len(group))
        self._templates = {i: Template.compile(routes[i].key) for i in group}
        readers: dict[str, list[int]] = {}
        for i in group:
            readers.setdefault(routes[i].source, []).append(i)
        self._readers = {
            name: PrefixIndex((start_of_keys(routes[i].filter), i) for i in members)
            for name, members in readers.items()
        }

    def rings(self) -> Iterator[RouteRing]:
        samples = _Samples([self._routes[i] for i in self._group])
        for start in self._group:
            seen: set[tuple[int, str]] = set()
            for key in samples.find(self._routes[start], self._takes[start]):
                yield from self._follow((start,), (key,), seen)

    def _follow(self, path: tuple[int, ...], keys: tuple[str, ...], seen: set[tuple[int, str]]) -> Iterator[RouteRing]:
        last = path[-1]
        if (last, keys[-1]) in seen or len(seen) >= self._steps:
            return
        seen.add((last, keys[-1]))
        for i, key in self._find_takers(last, keys[-1]):
            if i in path:
                at = path.index(i)
                yield RouteRing(path[at:], (*keys[at:], key))
            else:
                yield from self._follow((*path, i), (*keys, key), seen)

    def _find_takers(self, last: int, key: str) -> list[tuple[int, str]]:
        """Return the routes that take the copy of a key, each with the key of the copy at its source."""
        route = self._routes[last]
        made = render_key(self._templates[last], key, route.source)
        found = []
        for name in self._ways.behind(last):
            readers = self._readers.get(name)
            shown = self._places[route.destination].shows(made, self._places[name]) if readers else None
            if readers and shown is not None:
                found += [(i, shown) for i in readers.find(shown) if self._takes[i](shown)]
        return sorted(found)


class _Samples:
    """Keys made from the filters and templates of a group."""

    def __init__(self, group: Sequence[RouteSettings]) -> None:
        heads = _rests([r.filter.prefix for r in group], [r.key.partition("{")[0] for r in group])
        ends = [r.key.rpartition("}")[2][::-1] for r in group]
        tails = _rests([r.filter.suffix[::-1] for r in group], ends)
        filled = [text for r in group for pattern in r.filter.glob for text in fill_glob(pattern)]
        self._middles = list(dict.fromkeys([*filled, "x", "x.c", "a/x.c"]))
        self._heads = PrefixIndex((head, head) for head in heads)
        self._tails = PrefixIndex((tail, tail[::-1]) for tail in tails)
        self._tries = max(LEAST, TRIES // len(group))

    def find(self, route: RouteSettings, takes: Callable[[str], bool]) -> Iterator[str]:
        """Yield different keys that the route accepts."""
        heads = self._heads.find_around(start_of_keys(route.filter))
        tails = self._tails.find_around(route.filter.suffix[::-1])
        made = (head + middle + tail for middle, head, tail in product(self._middles, heads, tails))
        keys = chain(example_keys(route.filter, takes), islice(made, self._tries))
        seen: set[str] = set()
        for key in keys:
            if key not in seen and takes(key):
                seen.add(key)
                yield key
                if len(seen) == KEYS:
                    return


def _rests(wanted: Sequence[str], added: Sequence[str]) -> list[str]:
    """Return the beginnings of keys that are wanted, directly or after a template has added its text."""
    texts = list(dict.fromkeys(wanted))
    own = PrefixIndex((text, text) for text in dict.fromkeys(added) if text)
    return list(dict.fromkeys(["", *texts, *(text[len(each) :] for text in texts for each in own.find(text))]))
