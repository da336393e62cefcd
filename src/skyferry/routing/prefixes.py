"""An index of filters by the beginnings of the keys that they take: thousands of routes cost what a few cost. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import takewhile
from typing import Generic, TypeVar

from skyferry.config.settings import FilterSettings

T = TypeVar("T")
_WILD = frozenset("*?[")


def start_of_keys(accepts: FilterSettings) -> str:
    """Return a beginning of every key that a filter takes, by its prefix or its globs."""
    heads = ["".join(takewhile(lambda letter: letter not in _WILD, glob)) for glob in accepts.glob]
    return max(accepts.prefix, _common(min(heads), max(heads)) if heads else "", key=len)


def _common(one: str, other: str) -> str:
    return "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


class PrefixIndex(Generic[T]):
    """Items, each with a prefix, in the order in which they were given."""

    def __init__(self, items: Iterable[tuple[str, T]]) -> None:
        self._by_prefix: dict[str, list[tuple[int, T]]] = {}
        for position, (prefix, item) in enumerate(items):
            self._by_prefix.setdefault(prefix, []).append((position, item))
        self._lengths = sorted({len(prefix) for prefix in self._by_prefix})
        self._sorted: list[str] = sorted(self._by_prefix)

    def __len__(self) -> int:
        """Return the number of different prefixes."""
        return len(self._by_prefix)

    def find(self, key: str) -> list[T]:
        """Return the items whose prefix begins the key."""
        by_prefix, longest = self._by_prefix, len(key)
        groups = [
            group for n in self._lengths if n <= longest and (group := by_prefix.get(key[:n] if n else "")) is not None
        ]
        return _in_order(groups)

    def find_around(self, prefix: str) -> list[T]:
        """Return the items whose prefix begins `prefix`, and those whose prefix is begun by it."""
        groups = [group for n in self._lengths if n < len(prefix) and (group := self._by_prefix.get(prefix[:n]))]
        at = bisect_left(self._sorted, prefix)
        below = takewhile(lambda each: each.startswith(prefix), (self._sorted[i] for i in range(at, len(self._sorted))))
        return _in_order([*groups, *(self._by_prefix[each] for each in below)])


def _in_order(groups: list[list[tuple[int, T]]]) -> list[T]:
    if len(groups) == 1:
        return [item for _, item in groups[0]]
    return [item for _, item in sorted((pair for group in groups for pair in group), key=lambda pair: pair[0])]
