"""Uploads under way, in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from skyferry.model import Progress

Key = tuple[str, str]  # store and key of a destination


@dataclass(slots=True)
class Uploads:
    """What is known of each, by place and id, the latest last."""

    known: dict[tuple[Key, str], Progress] = field(default_factory=dict)

    def save(self, place: Key, progress: Progress, now: float) -> None:
        """Add its parts to those saved before."""
        name = (place, progress.upload.id)
        old = self.known[name].parts if name in self.known else ()
        parts = {part.number: part for part in (*old, *progress.parts)}
        self.known[name] = replace(progress, parts=tuple(parts[n] for n in sorted(parts)), saved_at=now)

    def of(self, place: Key) -> tuple[Progress, ...]:
        """Those to one place."""
        return tuple(progress for (held, _), progress in self.known.items() if held == place)

    def untouched(self) -> list[Progress]:
        """All, without their parts; the longest untouched first."""
        return sorted((replace(p, parts=()) for p in self.known.values()), key=lambda p: p.saved_at)

    def settled(self, place: Key, ids: Iterable[str]) -> None:
        """Forget these."""
        for name in ids:
            self.known.pop((place, name), None)

    def close(self, store: str, ids: Sequence[str]) -> None:
        """Forget these, whatever their keys."""
        gone = [name for name in self.known if name[0][0] == store and name[1] in ids]
        for name in gone:
            del self.known[name]
