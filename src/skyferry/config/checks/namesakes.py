"""Check stores with one bucket name: their events have to differ in what they name, or come from different queues."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import combinations, product

from skyferry.config.checks.validate import ValidDocument
from skyferry.config.reading.document import Document
from skyferry.config.reading.faults import Place
from skyferry.config.urls import QueueUrl
from skyferry.routing.origins import Address, Origin

HINT = "Give each its own queue, and set `stores` of both queues."


def check_namesakes(valid: ValidDocument, document: Document) -> None:
    """Report queues that name no store, and sources whose events are ambiguous."""
    settings = valid.settings
    for index, queue in zip(valid.queues, settings.queues, strict=True):
        for name in queue.stores:
            if name not in settings.stores:
                document.fault(("queues", index, "stores"), f"there is no store {name!r}", "Name a store of `stores`.")
    if any(place[0] in ("queues", "push") for place in valid.impaired):
        return
    for one, other, place in _namesakes(valid):
        if not one.differs(other) and (shared := _shared(valid, {one.store, other.store})):
            why = f"has the bucket name of {one.store}, and queue {shared} may bring events of both that do not name the store"
            document.fault(place, why, HINT)


def _namesakes(valid: ValidDocument) -> Iterator[tuple[Origin, Origin, Place]]:
    """Yield pairs of sources with one bucket name, and the place of the second. Stores that no route reads do not count."""
    settings, places = valid.settings, dict[str, Place]()
    for index, route in zip(valid.routes, settings.routes, strict=True):
        name = route.source
        places.setdefault(name, ("routes", index, "from") if "://" in name else ("stores", name, "url"))
    origins = []
    for name, store in settings.stores.items():
        with suppress(ValueError):  # reported elsewhere
            origins += [Origin.of(name, store)] if name in places else []
    groups: dict[tuple[Address, str], list[int]] = {}  # those of two accounts are never confused
    for at, origin in enumerate(origins):
        groups.setdefault((origin.address, origin.account), []).append(at)
    pairs = [pair for group in groups.values() for pair in combinations(group, 2)]
    for (address, account), group in groups.items():
        if account and (unknown := groups.get((address, ""))):
            pairs += [(min(pair), max(pair)) for pair in product(group, unknown)]
    for one, other in sorted(pairs):
        yield origins[one], origins[other], places[origins[other].store]


def _shared(valid: ValidDocument, stores: set[str]) -> str:
    """Return the first queue that may bring notifications of all these stores; "" if there is none."""
    settings = valid.settings
    pushed = {door.queue or settings.queues[0].name for door in settings.push if settings.queues}
    for queue in settings.queues:
        with suppress(ValueError):
            cloud = QueueUrl.parse(queue.url).at_a_cloud or queue.name in pushed
            if cloud and (not queue.stores or stores <= set(queue.stores)):
                return queue.name
    return ""
