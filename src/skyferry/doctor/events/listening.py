"""Plan where to listen for the event of a canary. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field

from skyferry.config.settings import RouteSettings
from skyferry.doctor.events.notifications import is_notified
from skyferry.doctor.leases import expected_receives
from skyferry.doctor.requirements import KeyShape, key_shapes
from skyferry.frozen import dataclass
from skyferry.ports.inspection import Notice, QueueFacts, Redrive, Unknown


@dataclass(frozen=True, slots=True)
class ListeningPlan:
    """The plan for the canary of one source."""

    queues: Sequence[str] = ()  # their names
    shape: KeyShape = field(default_factory=KeyShape)  # the shape of its key, so that its event is sent there
    deletes: bool = True  # its delete is notified too, as far as known


def plan_listening(
    route: RouteSettings, notices: tuple[Notice, ...] | Unknown, queues: Mapping[str, QueueFacts | Unknown]
) -> ListeningPlan:
    """Choose the queues that the bucket notifies; if unknown, all reachable ones and a key of the route."""
    reached = {name: facts for name, facts in queues.items() if not isinstance(facts, Unknown)}
    if not isinstance(notices, Unknown):
        notified = [
            (name, notice) for name, facts in reached.items() for notice in notices if is_notified(facts, notice)
        ]
        if notified:
            notice = next((notice for _, notice in notified if notice.created), notified[0][1])
            names = list(dict.fromkeys(name for name, _ in notified))
            return ListeningPlan(names, KeyShape(notice.prefix, notice.suffix), notice.deleted)
        if all(notice.direct for notice in notices) and all(isinstance(q.address, str) for q in reached.values()):
            return ListeningPlan()
    return ListeningPlan(list(reached), key_shapes(route.filter)[0])


def may_listen(facts: QueueFacts | Unknown | None, waiting: int) -> bool:
    """Return whether the redrive policy allows one more receive of each waiting message.

    `waiting` is -1 if the queue does not report it.
    """
    if facts is None or isinstance(facts, Unknown) or not isinstance(facts.redrive, Redrive) or waiting == 0:
        return True
    return facts.redrive.receives > expected_receives(facts.traits.max_hold)
