"""Events that no route takes, in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from skyferry.ledgers import rules
from skyferry.ports import DeadLetter, Refusal


@dataclass(slots=True)
class Refusals:
    """The last of each source key."""

    known: dict[tuple[str, str, str], Refusal] = field(default_factory=dict)  # by provider, bucket and key

    def remember(self, refusals: Sequence[Refusal]) -> None:
        """They replace those of the same source keys."""
        self.known.update(((r.source.provider, r.source.bucket, r.source.key), r) for r in refusals)

    def of(self, key: str) -> list[Refusal]:
        """The last refused first."""
        return sorted((r for (_, _, name), r in self.known.items() if name == key), key=lambda r: -r.at)

    def prune(self, before: float, limit: int) -> int:
        """Forget the oldest; how many."""
        old = sorted((r.at, name) for name, r in self.known.items() if r.at < before)[:limit]
        for _, name in old:
            del self.known[name]
        return len(old)


def unrouted(letters: Iterable[DeadLetter], limit: int) -> list[tuple[str, int]]:
    """See `Ledger.unrouted`."""
    groups = Counter(rules.source_bucket(each.source) for each in letters if each.reason == rules.UNROUTED)
    return sorted(groups.items(), key=lambda group: (-group[1], group[0]))[:limit]
