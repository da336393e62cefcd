"""Check the ways of events: senders to queues that cannot be sent to, and sources without a queue that they can notify."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from skyferry.config.checks.validate import ValidDocument
from skyferry.config.reading.document import Document
from skyferry.config.reading.faults import Place
from skyferry.config.settings import QueueSettings, StoreSettings
from skyferry.config.urls import QueueUrl, StoreUrl, resolve_queue, resolve_store

QUEUES_AT_CLOUDS = frozenset(name for name, row in QueueUrl.schemes.items() if row.cloud)
PUSH = frozenset({"pubsub", "eventarc", "sns", "eventgrid", "s3", "b2", "tigris"})
TARGETS = "Add one to its URL (?topic=TOPIC of Pub/Sub, ?subject=SUBJECT of NATS)"


def check_notifications(valid: ValidDocument, document: Document) -> None:
    """Report every fault and warning."""
    if any(place[0] in ("queues", "push") for place in valid.impaired):
        return
    queues = {queue.name: queue for queue in reversed(valid.settings.queues)}
    for place, sender, name in _senders(valid):
        queue = queues.get(name) if name else next(iter(valid.settings.queues), None)
        if queue is not None and not _takes(queue):
            why = f"{sender} sends events to queue {queue.name}, which has no topic or subject to send to"
            document.fault(
                place,
                why,
                f"{TARGETS}, or use another queue. The first queue gets the events of watched folders and submitted events.",
            )
    _heard(valid, document)


def _senders(valid: ValidDocument) -> Iterator[tuple[Place, str, str]]:
    """Yield the place of each internal sender, its description, and the name of its queue ("" = the first)."""
    for place, name, store in _sources(valid):
        with suppress(ValueError):
            if StoreUrl.parse(store.url).on_disk and store.watch:
                yield place, f"the watched folder of {name}", ""
    for door in valid.settings.push:
        yield ("push",), f"push endpoint {door.name}", door.queue


def _sources(valid: ValidDocument) -> Iterator[tuple[Place, str, StoreSettings]]:
    """Yield each store that is a source: the place of its first route, its name and its settings."""
    stores, seen = valid.settings.stores, set[str]()
    for index, route in zip(valid.routes, valid.settings.routes, strict=True):
        name = route.source
        if name in stores and name not in seen:
            seen.add(name)
            yield ("routes", index, "from"), name, stores[name]


def _takes(queue: QueueSettings) -> bool:
    """Return whether events can be sent to a queue. A faulty URL is reported by another check."""
    with suppress(ValueError):
        return (where := resolve_queue(queue)).url.known.sends(where.settings)
    return True


def _heard(valid: ValidDocument, document: Document) -> None:
    schemes = set(map(_find_scheme, valid.settings.queues))
    kinds = {endpoint.kind for endpoint in valid.settings.push}
    for place, name, store in _sources(valid):
        with suppress(ValueError):
            where = resolve_store(store)
            queues, pushes = where.profile.queues or QUEUES_AT_CLOUDS, where.profile.push or PUSH
            if where.url.at_a_cloud and not (queues & schemes or pushes & kinds):
                wanted = " or ".join([*(f"{scheme}://" for scheme in sorted(queues))])
                why = f"the provider of {name} can notify none of the queues and push endpoints"
                hint = f"Add a queue ({wanted}). Without one, only submitted events arrive."
                document.warn(place, why, hint)


def _find_scheme(queue: QueueSettings) -> str:
    """Return the scheme of a queue's URL, also where the URL is a provider's own name; "" if it is faulty."""
    with suppress(ValueError):
        return QueueUrl.parse(queue.url).scheme
    return ""
