"""The objects that a command could not process, grouped by reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field

from skyferry.cli.render.output import format_count
from skyferry.errors import SkyferryError
from skyferry.frozen import dataclass

SHOWN = 20  # failures in the JSON document, and keys that are listed for each reason
REASONS = 20  # groups that are listed
_KEY = "\0"  # stands for the key in the text of a group


@dataclass(slots=True)
class FailureGroup:
    """The failures of one reason."""

    message: str  # that of the first one
    hint: str
    count: int = 0
    keys: list[str] = field(default_factory=list)  # the first ones


@dataclass(slots=True)
class FailureReport:
    """All failures of a command; memory is bounded."""

    count: int = 0
    first: list[dict[str, str]] = field(default_factory=list)  # for the JSON document
    _groups: dict[tuple[str, str], FailureGroup] = field(default_factory=dict)

    def add(self, key: str, error: str, message: str, hint: str) -> None:
        """Add one. Failures whose kinds and messages differ only by the key are one group."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append({"key": key, "error": error, "message": message, "hint": hint})
        reason = (error, message.replace(key, _KEY) if key else message)
        if reason not in self._groups and len(self._groups) >= REASONS:
            reason = ("other", "other reasons")
        group = self._groups.setdefault(reason, FailureGroup(message or error, hint))
        group.count += 1
        if len(group.keys) < SHOWN:
            group.keys.append(key)

    def add_error(self, key: str, error: SkyferryError) -> None:
        """Add an error."""
        self.add(key, error.kind, f"{error.where} {error.message}".strip(), error.hint)

    def format_lines(self) -> Iterator[str]:
        """Yield the reasons, the most frequent first, each with its keys."""
        for group in sorted(self._groups.values(), key=lambda group: -group.count):
            hint = f"\n  {group.hint}" if group.hint and group.hint not in group.message else ""
            if group.count == 1:
                yield f"failed: {group.keys[0]}: {group.message}{hint}"
                continue
            yield f"failed: {format_count(group.count, 'object')}, such as {group.keys[0]}: {group.message}{hint}"
            yield from (f"  {key}" for key in group.keys)
            if more := group.count - len(group.keys):
                yield f"  and {more:,} more"
