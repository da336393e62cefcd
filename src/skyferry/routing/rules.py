"""The rules by which routes reject an event. Pure.

They are only applied one by one to events that no route accepts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from skyferry.config.settings import FilterSettings
from skyferry.frozen import dataclass

Takes = Callable[[str], bool]  # accepts a key
Rule = tuple[str, Takes]  # as the configuration has it, such as "filter.prefix: photos/"; and its test


@dataclass(frozen=True, slots=True)
class RouteRefusal:
    """One rule that rejected an event."""

    route: str  # "" = not the rule of one route
    rule: str

    def __str__(self) -> str:
        return f"route {self.route}: {self.rule}" if self.route else self.rule


@dataclass(frozen=True, slots=True)
class UnroutedEvent:
    """The reasons why no route accepts an event."""

    known: bool  # a store of the configuration is its bucket
    rules: tuple[RouteRefusal, ...] = ()
    region: str = ""  # where its routes run, if not here
    account: str = ""  # or endpoint or region, that the event names, where a store has the bucket's name in another
    hint: str = ""  # what to do, where only settings can say which store it is of


def compile_rules(accepts: FilterSettings, compiled: Callable[[FilterSettings], Takes]) -> tuple[Rule, ...]:
    """Return each rule about keys with its own test. Size and age are checked later."""
    parts: list[tuple[str, FilterSettings]] = []
    if accepts.prefix:
        parts.append((f"filter.prefix: {accepts.prefix}", FilterSettings(prefix=accepts.prefix)))
    if accepts.suffix:
        parts.append((f"filter.suffix: {accepts.suffix}", FilterSettings(suffix=accepts.suffix)))
    if accepts.glob:
        parts.append((f"filter.glob: {', '.join(accepts.glob)}", FilterSettings(glob=accepts.glob)))
    parts += [(f"filter.exclude: {text}", FilterSettings(exclude=(text,))) for text in accepts.exclude]
    return tuple((text, compiled(one)) for text, one in parts)


def find_refusal(rules: Sequence[Rule], key: str) -> str:
    """Return the first rule that rejects the key; "" if none does."""
    return next((text for text, takes in rules if not takes(key)), "")
