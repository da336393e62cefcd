"""Where the event of a canary may be heard, and whether one may listen there. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from skyferry.config.settings import RouteSettings
from skyferry.doctor.events.notifications import is_notified
from skyferry.doctor.leases import expected_receives
from skyferry.doctor.requirements import KeyShape, key_shapes
from skyferry.ports.inspection import Notice, QueueFacts, Redrive, Unknown


@dataclass(frozen=True, slots=True)
class ListeningPlan:
    """Of the canary of one source."""

    queues: Sequence[str] = ()  # their names
    shape: KeyShape = field(default_factory=KeyShape)  # how its key begins and ends, so that its event gets there
    deletes: bool = True  # its delete is told, too, for all that is known


def plan_listening(
    route: RouteSettings, told: tuple[Notice, ...] | Unknown, queues: Mapping[str, QueueFacts | Unknown]
) -> ListeningPlan:
    """At the queues that the bucket tells; where that is not known, at all that were reached, by a key of the route's."""
    reached = {name: facts for name, facts in queues.items() if not isinstance(facts, Unknown)}
    if not isinstance(told, Unknown):
        heard = [(name, notice) for name, facts in reached.items() for notice in told if is_notified(facts, notice)]
        if heard:
            notice = next((notice for _, notice in heard if notice.created), heard[0][1])
            names = list(dict.fromkeys(name for name, _ in heard))
            return ListeningPlan(names, KeyShape(notice.prefix, notice.suffix), notice.deleted)
        if all(notice.direct for notice in told) and all(isinstance(q.address, str) for q in reached.values()):
            return ListeningPlan()
    return ListeningPlan(list(reached), key_shapes(route.filter)[0])


def may_listen(facts: QueueFacts | Unknown | None, waiting: int) -> bool:
    """To listen is to receive each message that waits once more: its queue must not take it away for that.

    `waiting` is -1 where the queue does not tell.
    """
    if facts is None or isinstance(facts, Unknown) or not isinstance(facts.redrive, Redrive) or waiting == 0:
        return True
    return facts.redrive.receives > expected_receives(facts.longest_hold)
