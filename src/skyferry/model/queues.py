"""Abilities of queues."""

from __future__ import annotations

from math import inf
from typing import Literal

from skyferry.frozen import dataclass


@dataclass(frozen=True, slots=True)
class QueueTraits:
    """Abilities of one queue, as data: its adapter states them; configuration, engine, doctor and the suite read them.

    The defaults are those of a queue that Skyferry stores itself.
    """

    max_lease: float = inf  # seconds that one receive or extension may ask for
    max_hold: float = inf  # seconds from receive to the last possible end of the lease, however often it is extended
    max_delay: float = inf  # seconds that a release may ask for
    max_send_delay: float = inf  # seconds that a sent message may be delayed; 0 = delays are ignored
    depth: Literal["exact", "estimate", "unknown"] = "exact"
    ordered: bool = False  # messages of one group arrive in the order sent
    prioritized: bool = True  # messages with a higher priority are received first
    deduplicates: bool = True  # a repeated `dedup_id` is kept once
    limits_receives: bool = False  # it may take away a message that was received too often, as by a redrive policy
    frees_on_close: bool = True  # `close` ends the client's leases at once
