"""Events that no route takes, as the ledger remembers them."""

from __future__ import annotations

from skyferry.frozen import dataclass
from skyferry.model import Change, ObjectRef


@dataclass(frozen=True, slots=True)
class Refusal:
    """The newest event of a source key that no route took, and the rules that refused it."""

    source: ObjectRef
    change: Change
    event_id: str
    occurred_at: float  # seconds since 1970
    at: float  # when it was refused
    rules: tuple[tuple[str, str], ...]  # route ("" = of no single one) and rule, such as "filter.prefix: photos/"
