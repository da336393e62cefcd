"""The access of the routes to each store and queue."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from skyferry.config.identity import IdentitySettings
from skyferry.config.regions import routes_here
from skyferry.config.settings import QueueAddress, RouteSettings, Settings, StoreSettings
from skyferry.config.urls import QueueUrl, ResolvedQueue, ResolvedStore, StoreUrl, resolve_queue, resolve_store
from skyferry.frozen import dataclass
from skyferry.routing.patterns import Template

MACHINE = IdentitySettings()  # the identity of the machine at a cloud
ENTRA_AUDIENCE = "api://AzureADTokenExchange"  # the default audience of a token that Entra exchanges
CANARIES = "skyferry-doctor/"  # where `skyferry doctor` writes


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """The access to one store. Of prefixes: () = no key, ("",) = any key."""

    name: str
    where: ResolvedStore
    read: tuple[str, ...] = ()  # prefixes of the keys that are read: those of a source
    removed: tuple[str, ...] = ()  # of those of them that are deleted once they are copied
    written: tuple[str, ...] = ()  # of the keys that are looked at, written and deleted: those of a destination
    updated: tuple[str, ...] = ()  # of those of them whose attributes may change later, because their source is kept
    tags_written: bool = False  # what is written may have tags
    large: bool = False  # what is written may be too large for one request

    @property
    def url(self) -> StoreUrl:
        """Its parsed URL."""
        return self.where.url

    @property
    def settings(self) -> StoreSettings:
        """The settings, with the options of its URL."""
        return self.where.settings

    @property
    def what(self) -> str:
        """A description for people."""
        return f"store {self.name}"


@dataclass(frozen=True, slots=True)
class QueueAccess:
    """The access to one queue. Messages are received from every queue."""

    name: str
    where: ResolvedQueue
    sent: bool = False  # messages are put into it, too
    notified: bool = True  # buckets send their events to it

    @property
    def url(self) -> QueueUrl:
        """Its parsed URL."""
        return self.where.url

    @property
    def settings(self) -> QueueAddress:
        """The settings, with the options of its URL."""
        return self.where.settings

    @property
    def what(self) -> str:
        """A description for people."""
        return f"queue {self.name}"


@dataclass(frozen=True, slots=True)
class RequiredAccess:
    """The access to all stores and queues at clouds."""

    stores: tuple[StoreAccess, ...]
    queues: tuple[QueueAccess, ...]

    def of(self, cloud: str) -> list[IdentityAccess]:
        """Return the access of each identity at one cloud, in the order of the configuration, without the anonymous."""
        found: dict[IdentitySettings, tuple[list[StoreAccess], list[QueueAccess]]] = {}
        if tokens := self._tokens(cloud):
            found[MACHINE] = [], []
        for store in self.stores:
            if store.url.known.cloud == cloud:
                found.setdefault(store.settings.identity, ([], []))[0].append(store)
        for queue in self.queues:
            if queue.url.known.cloud == cloud:
                found.setdefault(queue.settings.identity, ([], []))[1].append(queue)
        shares = (
            IdentityAccess(who, tuple(stores), tuple(queues), tokens if who == MACHINE else ())
            for who, (stores, queues) in found.items()
        )
        return [share for share in shares if share.identity.kind != "anonymous"]

    def _tokens(self, cloud: str) -> tuple[str, ...]:
        """Return the audiences for which the machine needs a permission to get tokens of this cloud."""
        places: list[StoreAccess | QueueAccess] = [*self.stores, *self.queues]
        found = {_token(place.settings.identity, cloud, place.url.known.cloud) for place in places}
        return tuple(sorted(found - {""}))


@dataclass(frozen=True, slots=True)
class IdentityAccess:
    """The access of one identity at one cloud."""

    identity: IdentitySettings
    stores: tuple[StoreAccess, ...]
    queues: tuple[QueueAccess, ...]
    tokens: tuple[
        str, ...
    ] = ()  # AWS: audiences of the tokens it gets of STS. Google: accounts whose ID tokens it gets

    @property
    def users(self) -> tuple[str, ...]:
        """A description for people."""
        named = (*(store.what for store in self.stores), *(queue.what for queue in self.queues))
        return (*named, *(f"tokens for {each}" for each in self.tokens))


def _has_policy(queue: QueueAddress) -> bool:
    """Return True for a queue at a cloud, whose permissions are policies."""
    return resolve_queue(queue).url.known.cloud not in ("", "server")


def required_access(settings: Settings, *, submit: bool = False, doctor: bool = False) -> RequiredAccess:
    """Compute the access that `run`, `copy`, `gc` and the reading commands need, from settings of `load`.

    `submit` adds sending events to the first queue, by the command and the HTTP API, and returning dead letters that the ledger
    does not know to their queue. `doctor` adds its canaries.
    """
    stores = (_store(settings, name, doctor) for name in settings.stores)
    letters = settings.dead_letters
    returned = submit and letters is not None
    first = submit or any(_watched(settings, route.source) for route in routes_here(settings))
    pushed = {door.queue or settings.queues[0].name for door in settings.push if settings.queues}
    queues = tuple(
        QueueAccess(queue.name, resolve_queue(queue), sent=returned or (first and number == 0) or queue.name in pushed)
        for number, queue in enumerate(settings.queues)
        if _has_policy(queue)
    )
    if letters and _has_policy(letters):  # taken from by `dead-letters redrive --from-queue`
        queues = (*queues, QueueAccess(letters.name, resolve_queue(letters), sent=True, notified=False))
    return RequiredAccess(tuple(s for s in stores if s.url.at_a_cloud and (s.read or s.written)), queues)


def _store(settings: Settings, name: str, doctor: bool) -> StoreAccess:
    outgoing = [route for route in routes_here(settings) if route.source == name]
    incoming = [route for route in routes_here(settings) if route.destination == name]
    large = any(_may_be_large(route, settings) for route in incoming)
    keys = partial(_written, settings)
    return StoreAccess(
        name=name,
        where=resolve_store(settings.stores[name]),
        read=shortest_prefixes(route.filter.prefix for route in outgoing),
        removed=shortest_prefixes(route.filter.prefix for route in outgoing if route.after_copy != "keep"),
        written=shortest_prefixes([*map(keys, incoming), *([CANARIES] if doctor and incoming else [])]),
        updated=shortest_prefixes(keys(route) for route in incoming if route.after_copy == "keep"),
        tags_written=_tagged(settings, name) and any(r.tags or _tagged(settings, r.source) for r in incoming),
        large=large,
    )


def _token(identity: IdentitySettings, cloud: str, target: str) -> str:
    """Return the audience of a token of `cloud` that is exchanged at `target`; "" if there is none, or none needs a permission.

    For Google, a signed request proves the identity at AWS. At Google, every account can get an ID token for itself.
    """
    if identity.kind != "federated" or identity.token != cloud or target == cloud:
        return ""
    if cloud == "google":
        return identity.service_account
    return (identity.audience or ("" if target == "google" else ENTRA_AUDIENCE)) if cloud == "aws" else ""


def shortest_prefixes(prefixes: Iterable[str]) -> tuple[str, ...]:
    """Return the prefixes that no other one covers, in order."""
    found: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not any(prefix.startswith(each) for each in found):
            found.append(prefix)
    return tuple(found)


def _written(settings: Settings, route: RouteSettings) -> str:
    """Return the common beginning of a route's destination keys."""
    _, bucket = resolve_store(settings.stores[route.source]).address
    return Template.compile(route.key).start(bucket, route.filter.prefix)


def _may_be_large(route: RouteSettings, settings: Settings) -> bool:
    most = route.filter.max_size
    return most is None or most > settings.limits.part_size


def _tagged(settings: Settings, name: str) -> bool:
    """Return whether objects of a store can have tags."""
    return resolve_store(settings.stores[name]).profile.tags


def _watched(settings: Settings, name: str) -> bool:
    """Return whether a store is a watched folder, whose events go to the first queue."""
    store = settings.stores[name]
    return store.watch and resolve_store(store).url.on_disk
