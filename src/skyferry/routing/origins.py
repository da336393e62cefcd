"""Which store an event is of: by the bucket's name, and by account, endpoint and region as far as both sides name them. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from skyferry.config.settings import Settings, StoreSettings
from skyferry.config.urls import HOSTS, StoreUrl, address, own_account, resolved
from skyferry.model import ObjectEvent, ObjectRef, Provider

Address = tuple[Provider, str]  # provider and bucket
_REGION = re.compile(r"(?:^|\.)s3(?:-fips)?(?:\.dualstack)?[.-]([a-z]+(?:-[a-z]+)+-\d+)\.")  # in a host of Amazon's
_PORTS = {"https": 443, "http": 80}


def host_of(url: str) -> str:
    """Host and port of an endpoint, to be compared; "" if it is no URL of a server. The scheme's own port is left out."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    host = parts.hostname or ""
    return host if not host or port in (None, _PORTS.get(parts.scheme)) else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class Origin:
    """One store, and what its configuration knows of the account, endpoint and region that its events name; "" = not known."""

    store: str  # its name
    address: Address
    account: str = ""  # Azure's
    region: str = ""  # Amazon's
    endpoint: str = ""  # host and port
    names_endpoint: bool = False  # its events do, as the server knows itself

    @classmethod
    def of(cls, name: str, store: StoreSettings) -> Origin:
        """Raises ValueError for a URL that is none."""
        url, at = StoreUrl.parse(store.url), address(store)
        if not url.known.extra:
            return cls(name, at)
        account, store = own_account(store), resolved(store)
        endpoint = host_of(store.endpoint)
        if at[0] is Provider.AWS_S3:
            amazon = not endpoint or any(f".{endpoint}".endswith(f".{end}") for end in HOSTS)
            named = _REGION.search(endpoint)
            region = store.region or (named[1] if named else "")
            return cls(name, at, region=region if amazon else "", endpoint=endpoint)
        return cls(name, at, account, endpoint=endpoint, names_endpoint=store.service == "minio")

    @property
    def label(self) -> str:
        """The account by which its objects are told from those of another store with one bucket name."""
        return self.account or self.endpoint or self.region

    def ref(self, key: str) -> ObjectRef:
        """Its object of this key, as an event of Skyferry's own names it."""
        return ObjectRef(*self.address, key, account=self.label)

    def differs(self, other: Origin) -> bool:
        """Whether events alone tell the two apart."""
        pairs = [(self.account, other.account), (self.region, other.region)]
        if self.names_endpoint and other.names_endpoint:
            pairs.append((self.endpoint, other.endpoint))
        return any(one and two and one != two for one, two in pairs)


@dataclass(frozen=True, slots=True)
class Found:
    """The store of an event."""

    event: ObjectEvent  # under the name that the store's routes go by
    store: str = ""  # "" = none, or it is not known which
    contradicted: str = ""  # the account, endpoint or region that the event names, if no store of that name is there
    hint: str = ""  # what to set, where only settings can say the store

    @property
    def doubtful(self) -> bool:
        """Whether a store has the name of its bucket, but it is not, or not surely, the one that is meant."""
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
        """Raises ValueError for a URL that is none."""
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

    def find(self, event: ObjectEvent, queue: str = "") -> Found:
        """The store of an event that this queue brought.

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
            return Found(self._labelled(event, fits[0]), fits[0].store)
        return self._lost(event, fits, queue)

    def refuse(self, store: str, source: ObjectRef) -> bool:
        """Whether an object cannot be in the store of this name."""
        named = self.by_address.get((source.provider, source.bucket), ())
        return any(origin.store == store and self.contradiction(origin, source) for origin in named)

    def contradiction(self, origin: Origin, source: ObjectRef) -> str:
        """The account, endpoint or region that an event names, if this store is known to have another; else ""."""
        if origin.account and source.account not in ("", origin.account):
            return source.account
        if origin.region and source.region not in ("", origin.region):
            return source.region
        # A server seldom calls itself by the address that we reach it at: an endpoint that no store has says nothing.
        named = host_of(source.endpoint) if source.endpoint else ""
        return named if named != origin.endpoint and named in self.endpoints else ""

    def _fits(self, source: ObjectRef, only: Collection[str]) -> list[Origin]:
        """The stores that its bucket can be, of those with these names; () = of all."""
        named = self.by_address.get((source.provider, source.bucket), ())
        return [o for o in named if not self.contradiction(o, source) and (not only or o.store in only)]

    def _narrowed(self, fits: list[Origin], source: ObjectRef, brought: Collection[str]) -> list[Origin]:
        """By the account that an event of Skyferry's own names, by the queue, or by what routes read from."""
        own = [origin for origin in fits if source.account and origin.label == source.account]
        fits = own or [origin for origin in fits if origin.store in brought] or fits
        return [origin for origin in fits if origin.store in self.sources] or fits[:1]

    def _lost(self, event: ObjectEvent, fits: Collection[Origin], queue: str) -> Found:
        """Why there is no store, if one has the name of the bucket."""
        source = event.source
        named = self.by_address.get((source.provider, source.bucket), ())
        if fits:
            names = " or ".join(origin.store for origin in fits)
            return Found(
                event, hint=f"It may be {names}: set `stores` of its queue to the one that is meant, then redrive."
            )
        if contradicted := next(filter(None, (self.contradiction(origin, source) for origin in named)), ""):
            return Found(event, contradicted=contradicted)
        if not named:
            return Found(event)
        names = " or ".join(origin.store for origin in named)
        return Found(event, hint=f"It may be {names}: add that to `stores` of queue {queue}, then redrive.")

    def _labelled(self, event: ObjectEvent, origin: Origin) -> ObjectEvent:
        """Positions of two stores with one bucket name do not compare: their account tells them apart in the ledger."""
        source = event.source
        shared = len(self.by_address[origin.address]) > 1
        account = origin.label if shared else source.account if source.provider is Provider.AZURE_BLOB else ""
        return event if account == source.account else replace(event, source=replace(source, account=account))
