"""Check pairs of routes: sources that are deleted too early, and copies that get one key. Pairs that cannot meet cost nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import field
from heapq import merge
from itertools import islice
from typing import TypeVar

from skyferry.config.reading.document import Document
from skyferry.config.settings import FilterSettings, RouteSettings
from skyferry.frozen import dataclass
from skyferry.routing.patterns import Template
from skyferry.routing.prefixes import PrefixIndex, start_of_keys
from skyferry.routing.routes import compile_filter
from skyferry.routing.samples import example_keys, render_key

OTHERS_MAX = 10  # other routes that are reported for one route, of faults and of warnings each
MORE = "; further routes are not listed"
Numbered = tuple[int, RouteSettings]  # with the index in the document
T = TypeVar("T")


def check_moves(routes: Sequence[Numbered], document: Document) -> None:
    """Report routes that delete a source object which another route may not have copied yet."""
    sources: dict[str, list[int]] = defaultdict(list)
    for position, (_, route) in enumerate(routes):
        sources[route.source].append(position)
    simple = [_is_simple(route.filter) for _, route in routes]
    pairs: list[tuple[int, int, str, bool]] = []  # the mover, the other, the end of the message, a fault or a warning
    for group in sources.values():
        index = PrefixIndex((routes[i][1].filter.prefix, i) for i in group)
        for mover in (i for i in group if routes[i][1].after_copy != "keep"):
            for certain in (True, False):  # warnings take no place from faults
                others = (i for i in _find_hasty(mover, index, routes) if (simple[mover] and simple[i]) is certain)
                pairs += [(mover, other, end, certain) for other, end in _take_first(others)]
    for position, other, end, certain in sorted(pairs, key=lambda pair: (min(pair[:2]), max(pair[:2]))):
        place = ("routes", routes[position][0], "after_copy")
        why = f"deletes objects that route {routes[other][1].name} may not have copied yet{end}"
        if certain:
            document.fault(place, why, "Set after_copy: keep, or filters by prefix that do not overlap.")
        else:
            document.warn(place, why, "Ignore this if their filters do not overlap.")


def _take_first(others: Iterable[T]) -> Iterator[tuple[T, str]]:
    """Yield as many as are reported, each with the end of its message. The last one says so if there are more."""
    found = list(islice(others, OTHERS_MAX + 1))
    for at, other in enumerate(found[:OTHERS_MAX], 1):
        yield other, MORE if at == OTHERS_MAX < len(found) else ""


def _find_hasty(mover: int, index: PrefixIndex[int], routes: Sequence[Numbered]) -> Iterator[int]:
    """Yield the routes whose objects this one may delete. Of two that delete, the first one reports the pair."""
    suffix = routes[mover][1].filter.suffix
    for other in index.find_around(routes[mover][1].filter.prefix):
        route = routes[other][1]
        if other == mover or (other < mover and route.after_copy != "keep"):
            continue
        if route.filter.suffix.endswith(suffix) or suffix.endswith(route.filter.suffix):
            yield other


def _is_simple(accepts: FilterSettings) -> bool:
    return accepts == FilterSettings(prefix=accepts.prefix, suffix=accepts.suffix)


@dataclass(frozen=True, slots=True, eq=False)
class _Namer:
    """Routes to one destination that take the same keys and give them the same names."""

    accepts: FilterSettings
    template: Template
    source: str
    takes: Callable[[str], bool]
    examples: tuple[str, ...]
    members: list[int] = field(default_factory=list)  # ascending

    def render(self, key: str) -> str:
        return render_key(self.template, key, self.source)

    def start(self) -> str:
        """Return the beginning of all keys that it makes."""
        return self.template.start(self.source, self.accepts.prefix)


def check_meetings(routes: Sequence[Numbered], document: Document) -> None:
    """Report objects of two routes that would get the same key in one store."""
    pairs = (pair for namers in _group_namers(routes) for pair in _find_meetings(namers))
    for first, second, made, end in sorted(pairs):
        (_, one), (index, two) = routes[first], routes[second]
        why, hint = f"gives objects a key that route {one.name} gives to others: {made}", "The newest event wins"
        if one.source == two.source:
            why = f"gives the objects of route {one.name} the same key: {made}"
            hint = "The second route finds the copies of the first"
        document.warn(("routes", index, "key"), f"{why}{end}", f"{hint}. Set another key to keep them apart.")


def _group_namers(routes: Sequence[Numbered]) -> list[list[_Namer]]:
    """Return the namers of each destination."""
    found: dict[str, dict[tuple[object, ...], _Namer]] = defaultdict(dict)
    for position, (_, route) in enumerate(routes):
        accepts = route.filter
        source = route.source if "{bucket}" in route.key else ""
        same = (accepts.prefix, accepts.suffix, accepts.glob, accepts.exclude, route.key, source)
        group = found[route.destination]
        if (namer := group.get(same)) is None:
            takes = compile_filter(accepts)
            examples = tuple(example_keys(accepts, takes))
            namer = group[same] = _Namer(accepts, Template.compile(route.key), route.source, takes, examples)
        namer.members.append(position)
    return [list(group.values()) for group in found.values()]


def _find_meetings(namers: Sequence[_Namer]) -> Iterator[tuple[int, int, str, str]]:
    """Yield two routes that meet, the earlier one first, a key that both make, and the end of the message."""
    meets = _find_pairs(namers)
    for at, namer in enumerate(namers):
        shared: dict[int, str] = {}
        for second in namer.members:
            firsts = merge(*([(i, other) for i in namers[other].members if i < second] for other in meets[at]))
            for (first, other), end in _take_first(firsts):
                if other not in shared:
                    shared[other] = _find_shared(namers[other], namer)
                yield first, second, shared[other], end


def _find_pairs(namers: Sequence[_Namer]) -> list[set[int]]:
    """Return the indices of the namers that each one meets; itself as well, unless no example is known."""
    by_source = PrefixIndex((start_of_keys(namer.accepts), i) for i, namer in enumerate(namers))
    by_copy = PrefixIndex((namer.start(), i) for i, namer in enumerate(namers))
    meets: list[set[int]] = [set() for _ in namers]
    for at, namer in enumerate(namers):
        for key in namer.examples:
            made = namer.render(key)
            for other in by_copy.find(made) if len(by_copy) > len(by_source) else by_source.find(key):
                if other not in meets[at] and namers[other].takes(key) and namers[other].render(key) == made:
                    meets[at].add(other)
                    meets[other].add(at)
    return meets


def _find_shared(one: _Namer, two: _Namer) -> str:
    """Return the first key that both make, by the examples of the first."""
    keys = (key for key in (*one.examples, *two.examples) if one.takes(key) and two.takes(key))
    return next(made for key in keys if (made := two.render(key)) == one.render(key))
