"""Check that the source of a route notifies a queue of every object of the route. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from skyferry.config.settings import RouteSettings
from skyferry.doctor.check import Check, CheckSubject
from skyferry.doctor.requirements import KeyShape, key_shapes
from skyferry.ports.inspection import Notice, QueueFacts, Unknown

Queues = Mapping[str, QueueFacts | Unknown]  # those of clouds by name; Unknown = it was not reached

HOW = "docs/how-to/notifications.md has the command"
ANYBODY = ("*", "s3.amazonaws.com")
TRY = "Run with --events to try it with a canary."


def check_notifications(
    route: RouteSettings, notices: tuple[Notice, ...] | Unknown, queues: Queues, endpoints: Sequence[str]
) -> Iterator[Check]:
    """`endpoints` are the names of the push endpoints."""
    place = CheckSubject("route", route.name)
    if not queues and not endpoints:
        said = "no queue at a cloud brings its events, so only submitted ones arrive"
        yield place.unknown("notified", said, "Add a queue or a push endpoint that the bucket can notify.")
        return
    if isinstance(notices, Unknown):
        yield place.unknown("notified", notices, TRY)
        return
    if not notices:
        yield place.wrong("notified", "the bucket has no notification", f"Let it notify a queue: {HOW}.")
        return
    notified = {notice: name for notice in notices if (name := _queue(notice, queues))}
    if not notified:
        yield _explain_no_queue(place, notices, queues, endpoints)
        return
    names = ", ".join(dict.fromkeys(notified.values()))
    yield _covered(
        place, "notified", key_shapes(route.filter), [n for n in notified if n.created], list(notified), names
    )
    if route.deletes == "propagate":
        yield _covered(
            place, "deletes", key_shapes(route.filter), [n for n in notified if n.deleted], list(notified), names
        )
    yield from (_sender(place, name, queues) for name in dict.fromkeys(notified.values()))


def is_notified(facts: QueueFacts | Unknown, notice: Notice) -> bool:
    """Return whether the notification goes to this queue."""
    return notice.direct and not isinstance(facts, Unknown) and facts.address == notice.target


def _queue(notice: Notice, queues: Queues) -> str:
    """Return the name of the queue that is notified, or ""."""
    return next((name for name, facts in queues.items() if is_notified(facts, notice)), "")


def _explain_no_queue(
    place: CheckSubject, notices: Sequence[Notice], queues: Queues, endpoints: Sequence[str]
) -> Check:
    targets = ", ".join(dict.fromkeys(notice.target for notice in notices))
    if endpoints:
        said = f"it notifies {targets}; whether that pushes to {', '.join(endpoints)} is not visible from here"
        return place.unknown("notified", said, "Write an object, and look at `skyferry transfers`.")
    if any(not notice.direct for notice in notices):
        return place.unknown(
            "notified", f"it notifies {targets}; whether a queue is behind that is not visible from here", TRY
        )
    blind = [n for n, facts in queues.items() if isinstance(facts, Unknown) or isinstance(facts.address, Unknown)]
    if blind:
        return place.unknown("notified", f"it notifies {targets}; the source of {', '.join(blind)} is not known", TRY)
    return place.wrong(
        "notified",
        f"it notifies {targets}, which is no configured queue",
        "Correct the URL of the queue, or its `stores`.",
    )


def _covered(
    place: CheckSubject,
    check: str,
    wanted: Sequence[KeyShape],
    notices: Sequence[Notice],
    all_: Sequence[Notice],
    names: str,
) -> Check:
    """Check that one notification covers each shape of key."""
    if not notices:
        said = ", ".join(dict.fromkeys(event for notice in all_ for event in notice.events))
        words = "deletes" if check == "deletes" else "all created objects"
        return place.wrong(check, f"{names} is only notified of {said}", f"Let the bucket notify it of {words}: {HOW}.")
    hidden = next((shape for shape in wanted if not any(_within(shape, notice) for notice in notices)), None)
    if hidden is None:
        return place.ok(check, names)
    filters = " or ".join(f"{notice.prefix}*{notice.suffix}" for notice in notices)
    said = f"{names} is only notified of {filters}, but the route accepts {hidden.prefix}*{hidden.suffix}"
    return place.wrong(check, said, "Widen the filter of the notification, or narrow that of the route.")


def _within(shape: KeyShape, notice: Notice) -> bool:
    return shape.prefix.startswith(notice.prefix) and shape.suffix.endswith(notice.suffix)


def _sender(place: CheckSubject, name: str, queues: Queues) -> Check:
    facts = queues[name]
    senders = facts if isinstance(facts, Unknown) else facts.senders
    if not isinstance(facts, Unknown) and facts.barred:
        return place.wrong("sender", f"{name}: {facts.barred.what}", facts.barred.hint)
    if isinstance(senders, Unknown):
        return place.unknown("sender", f"{name}: {senders.reason}")
    if any(each in senders for each in ANYBODY):
        return place.ok("sender", name)
    hint = f"Allow s3.amazonaws.com to send (sqs:SendMessage) in the policy of the queue: {HOW}."
    return place.wrong("sender", f"{name} accepts messages of {', '.join(sorted(senders)) or 'no service'} only", hint)
