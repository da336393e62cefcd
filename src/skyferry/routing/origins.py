"""Attribute events to stores: by bucket name, and by account, endpoint and region where the event and the store name them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import field, replace
from urllib.parse import urlsplit

from skyferry.config.settings import Settings, StoreSettings
from skyferry.config.urls import resolve_store
from skyferry.events.s3_keys import KeyEncoding, apply_encoding
from skyferry.frozen import dataclass
from skyferry.model import ObjectEvent, ObjectRef, Provider

Address = tuple[Provider, str]  # provider and bucket
_PORTS = {"https": 443, "http": 80}


def host_of(url: str) -> str:
    """Return host and port of an endpoint, without the scheme's default port; "" if it is no URL of a server."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    host = parts.hostname or ""
    return host if not host or port in (None, _PORTS.get(parts.scheme)) else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class Origin:
    """One store, with its account, endpoint and region as far as the configuration says; "" = unknown."""

    store: str  # its name
    address: Address
    account: str = ""  # Azure's
    region: str = ""  # Amazon's
    endpoint: str = ""  # host and port
    names_endpoint: bool = False  # its events name an endpoint
    event_keys: KeyEncoding = "auto"

    @classmethod
    def of(cls, name: str, store: StoreSettings) -> Origin:
        """Read it from the settings. Raises ValueError for an invalid URL."""
        where = resolve_store(store)
        if not where.url.at_a_cloud:
            return cls(name, where.address)
        profile, endpoint = where.profile, host_of(where.settings.endpoint)
        names, keys = profile.names_endpoint, profile.event_keys
        return cls(name, where.address, profile.account, profile.region, endpoint, names, keys)

    @property
    def label(self) -> str:
        """The `account` of its objects in the ledger, where another store has the same bucket name."""
        return self.account or self.endpoint or self.region

    def ref(self, key: str) -> ObjectRef:
        """Return a reference to its object of this key, for an event that Skyferry makes."""
        return ObjectRef(*self.address, key, account=self.label)

    def differs(self, other: Origin) -> bool:
        """Return True if events alone distinguish the two."""
        pairs = [(self.account, other.account), (self.region, other.region)]
        if self.names_endpoint and other.names_endpoint:
            pairs.append((self.endpoint, other.endpoint))
        return any(one and two and one != two for one, two in pairs)


@dataclass(frozen=True, slots=True)
class Attribution:
    """The result for one event."""

    event: ObjectEvent  # with the provider and account of the store
    store: str = ""  # "" = none, or ambiguous
    contradicted: str = ""  # the account, endpoint or region that the event names, if no store of that name is there
    hint: str = ""  # what to set, where only settings can say the store

    @property
    def doubtful(self) -> bool:
        """True if a store has the bucket name, but contradicts the event or is one of several."""
        return bool(self.contradicted or self.hint)


@dataclass(frozen=True, slots=True)
class Origins:
    """The stores of a configuration, by how events name them."""

    by_address: Mapping[Address, tuple[Origin, ...]]
    sources: Collection[str]  # stores that routes read from
    endpoints: Collection[str]  # of all stores
    brought: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # stores by queue, where it names some

    @classmethod
    def of(cls, settings: Settings) -> Origins:
        """Read them from the settings. Raises ValueError for an invalid URL."""
        found: dict[Address, tuple[Origin, ...]] = {}
        for name, store in settings.stores.items():
            origin = Origin.of(name, store)
            found[origin.address] = (*found.get(origin.address, ()), origin)
        every = [origin for group in found.values() for origin in group]
        return cls(
            found,
            frozenset(route.source for route in settings.routes),
            frozenset(origin.endpoint for origin in every if origin.endpoint),
            {queue.name: queue.stores for queue in settings.queues if queue.stores},
        )

    def find(self, event: ObjectEvent, queue: str = "") -> Attribution:
        """Return the store of an event that came from this queue.

        Many servers that speak S3 say in their notifications that they are Amazon's. They are believed only where a bucket of
        Amazon's can be meant; and no sequencer of Amazon's, which are exact, is in the others.
        """
        source, brought = event.source, self.brought.get(queue, ())
        only = brought if event.format != "native" else ()
        fits = self._fits(source, only)
        if not fits and source.provider is Provider.AWS_S3:
            other = replace(source, provider=Provider.S3_COMPATIBLE)
            if fits := self._fits(other, only):
                event = replace(event, source=other, position=None)
        if len(fits) > 1:
            fits = self._narrowed(fits, source, brought)
        if len(fits) == 1:
            return Attribution(self._labelled(event, fits[0]), fits[0].store)
        return self._unattributed(event, fits, queue)

    def refuse(self, store: str, source: ObjectRef) -> bool:
        """Return True if an object cannot be in the store of this name."""
        named = self.by_address.get((source.provider, source.bucket), ())
        return any(origin.store == store and self.contradiction(origin, source) for origin in named)

    def contradiction(self, origin: Origin, source: ObjectRef) -> str:
        """Return the account, endpoint or region of an event if this store is known to have another; else ""."""
        if origin.account and source.account not in ("", origin.account):
            return source.account
        if origin.region and source.region not in ("", origin.region):
            return source.region
        # Servers seldom know the address by which they are reached: an endpoint that no store has means nothing.
        named = host_of(source.endpoint) if source.endpoint else ""
        return named if named != origin.endpoint and named in self.endpoints else ""

    def _fits(self, source: ObjectRef, only: Collection[str]) -> list[Origin]:
        """Return the stores that have its bucket name and do not contradict it, of those named in `only`; () = of all."""
        named = self.by_address.get((source.provider, source.bucket), ())
        return [o for o in named if not self.contradiction(o, source) and (not only or o.store in only)]

    def _narrowed(self, fits: list[Origin], source: ObjectRef, brought: Collection[str]) -> list[Origin]:
        """Narrow several down: by the account in the event, by the queue, or to the sources of routes."""
        own = [origin for origin in fits if source.account and origin.label == source.account]
        fits = own or [origin for origin in fits if origin.store in brought] or fits
        return [origin for origin in fits if origin.store in self.sources] or fits[:1]

    def _unattributed(self, event: ObjectEvent, fits: Collection[Origin], queue: str) -> Attribution:
        """Explain why there is no single store."""
        source = event.source
        providers = (source.provider, *((Provider.S3_COMPATIBLE,) if source.provider is Provider.AWS_S3 else ()))
        named = [origin for each in providers for origin in self.by_address.get((each, source.bucket), ())]
        if fits:
            names = " or ".join(origin.store for origin in fits)
            return Attribution(
                event, hint=f"It may be {names}: set `stores` of its queue to the one that is meant, then redrive."
            )
        if contradicted := next(filter(None, (self.contradiction(origin, source) for origin in named)), ""):
            return Attribution(event, contradicted=contradicted)
        if not named:
            return Attribution(event)
        names = " or ".join(origin.store for origin in named)
        return Attribution(event, hint=f"It may be {names}: add that to `stores` of queue {queue}, then redrive.")

    def _labelled(self, event: ObjectEvent, origin: Origin) -> ObjectEvent:
        """Set the key as the store's service writes it, and the account where stores share a bucket name: positions of two stores
        must not be compared in the ledger.
        """
        event = apply_encoding(event, origin.event_keys)
        source = event.source
        shared = len(self.by_address[origin.address]) > 1
        account = origin.label if shared else source.account if source.provider is Provider.AZURE_BLOB else ""
        return event if account == source.account else replace(event, source=replace(source, account=account))
