"""Where the event of a canary may be heard, and whether one may listen there. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from skyferry.config.settings import RouteSettings
from skyferry.doctor.events.notifications import hears
from skyferry.doctor.leases import receives
from skyferry.doctor.requirements import Shape, shapes
from skyferry.ports.inspection import Notice, QueueFacts, Redrive, Unknown


@dataclass(frozen=True, slots=True)
class Hearing:
    """Of the canary of one source."""

    queues: Sequence[str] = ()  # their names
    shape: Shape = field(default_factory=Shape)  # how its key begins and ends, so that its event gets there
    deletes: bool = True  # its delete is told, too, for all that is known


def hearing(
    route: RouteSettings, told: tuple[Notice, ...] | Unknown, queues: Mapping[str, QueueFacts | Unknown]
) -> Hearing:
    """At the queues that the bucket tells; where that is not known, at all that were reached, by a key of the route's."""
    reached = {name: facts for name, facts in queues.items() if not isinstance(facts, Unknown)}
    if not isinstance(told, Unknown):
        heard = [(name, notice) for name, facts in reached.items() for notice in told if hears(facts, notice)]
        if heard:
            notice = next((notice for _, notice in heard if notice.created), heard[0][1])
            names = list(dict.fromkeys(name for name, _ in heard))
            return Hearing(names, Shape(notice.prefix, notice.suffix), notice.deleted)
        if all(notice.direct for notice in told) and all(isinstance(q.address, str) for q in reached.values()):
            return Hearing()
    return Hearing(list(reached), shapes(route.filter)[0])


def may_listen(facts: QueueFacts | Unknown | None, waiting: int) -> bool:
    """To listen is to receive each message that waits once more: its queue must not take it away for that.

    `waiting` is -1 where the queue does not tell.
    """
    if facts is None or isinstance(facts, Unknown) or not isinstance(facts.redrive, Redrive) or waiting == 0:
        return True
    return facts.redrive.receives > receives(facts.longest_hold)
