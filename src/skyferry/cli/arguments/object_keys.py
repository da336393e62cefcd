"""The argument of `explain`: a key, or a URL in any form that a command prints."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import unquote

from skyferry.frozen import dataclass
from skyferry.model import ObjectRef, Provider

if TYPE_CHECKING:
    from skyferry.config.settings import Settings

Bucket = tuple[Provider, str]


@dataclass(frozen=True, slots=True)
class ObjectCandidate:
    """One object that the argument may mean."""

    key: str
    bucket: Bucket | None = None  # None = any

    def is_at(self, bucket: Bucket, key: str) -> bool:
        """Return True if this candidate is the object `key` in `bucket`."""
        return key == self.key and self.bucket in (None, bucket)


def find_candidates(text: str, settings: Settings) -> list[ObjectCandidate]:
    """Return the candidates, the likeliest first. A URL may be percent-encoded or not, with or without a query."""
    found: list[ObjectCandidate] = []
    if "://" in text:
        plain = text.partition("?")[0]
        for form in (text, unquote(text), plain, unquote(plain)):
            found += _match_stores(form, settings)
            found += _match_scheme(form)
    found += [*_match_path(text, settings), ObjectCandidate(text)]
    return list(dict.fromkeys(found))


def find_sources(found: list[ObjectCandidate], settings: Settings) -> Iterator[ObjectRef]:
    """Yield the candidates as objects at the sources of routes."""
    from skyferry.routing.origins import Origin

    sources: dict[Bucket, list[Origin]] = {}
    for name in dict.fromkeys(route.source for route in settings.routes):
        if (bucket := _address(settings, name)) is not None:
            sources.setdefault(bucket, []).append(Origin.of(name, settings.stores[name]))
    for each in found:
        if each.bucket is not None:
            named = sources.get(each.bucket, [])
            yield from [origin.ref(each.key) for origin in named] or [ObjectRef(*each.bucket, each.key)]
        elif "://" not in each.key:
            yield from (origin.ref(each.key) for bucket in sorted(sources) for origin in sources[bucket])


def _match_scheme(form: str) -> Iterator[ObjectCandidate]:
    """provider://bucket/key, as events and letters have it; or the short scheme of a URL."""
    from skyferry.config.urls import StoreUrl

    scheme, _, rest = form.partition("://")
    bucket, _, key = rest.partition("/")
    row = StoreUrl.schemes.get(scheme)
    providers = row.providers if row else (Provider(scheme),) if scheme in list(Provider) else ()
    if bucket and key:
        yield from (ObjectCandidate(key, (provider, bucket)) for provider in providers)


def _match_stores(form: str, settings: Settings) -> Iterator[ObjectCandidate]:
    """Match the URL of a store, or its endpoint and bucket, followed by a key."""
    from skyferry.config.urls import resolve_store

    for name, store in settings.stores.items():
        if (address := _address(settings, name)) is None:
            continue
        begins = [store.url.partition("?")[0].rstrip("/")]
        with suppress(ValueError):
            if endpoint := resolve_store(store).settings.endpoint:
                begins.append(f"{endpoint.rstrip('/')}/{address[1]}")
        for begin in (*begins, *map(unquote, begins)):
            if form.startswith(f"{begin}/") and form != f"{begin}/":
                yield ObjectCandidate(form[len(begin) + 1 :], address)


def _match_path(text: str, settings: Settings) -> Iterator[ObjectCandidate]:
    """Match a file in the folder of a store, by path or file:// URL."""
    from skyferry.config.urls import StoreUrl
    from skyferry.errors import InvalidKey
    from skyferry.stores.local.names import key_of

    scheme, colon, rest = text.partition("://")
    paths = [text] if not colon else [rest, unquote(rest)] if scheme == "file" else []
    for name, store in settings.stores.items():
        with suppress(ValueError):
            url = StoreUrl.parse(store.url)
            folder = os.path.abspath(url.path(settings.workspace)) if url.on_disk else ""
            for path in map(os.path.abspath, paths if folder else ()):
                if path.startswith(f"{folder}/") and (address := _address(settings, name)):
                    with suppress(InvalidKey):
                        yield ObjectCandidate(key_of(path[len(folder) + 1 :]), address)


def _address(settings: Settings, store: str) -> Bucket | None:
    from skyferry.config.urls import resolve_store

    try:
        return resolve_store(settings.stores[store]).address
    except (KeyError, ValueError):
        return None
