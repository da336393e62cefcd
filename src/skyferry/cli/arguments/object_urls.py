"""Objects as people name them on the command line: a URL with a key, or a path."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, unquote

from skyferry.errors import ConfigError

if TYPE_CHECKING:
    from skyferry.config.settings import Settings, StoreSettings
    from skyferry.model import ObjectRef
    from skyferry.ports import ObjectStore
    from skyferry.wiring import Opener


@dataclass(frozen=True, slots=True)
class Named:
    """A store, and in it an object or a prefix."""

    text: str
    store: StoreSettings
    key: str  # "" = all of it
    path: Path | None = None  # the folder of a local one

    @property
    def folder(self) -> bool:
        """Whether it says itself that it is a prefix."""
        return not self.key or self.key.endswith("/")

    @property
    def ref(self) -> ObjectRef:
        """As events name it."""
        from skyferry.config.urls import resolve_store
        from skyferry.model import ObjectRef

        return ObjectRef(*resolve_store(self.store).address, self.key)

    @property
    def identity(self) -> str:
        """Which store it is, the same for the same store."""
        provider, bucket = self.ref.provider, self.ref.bucket
        return f"{provider} {self.path or bucket} {self.store.url} {self.store.endpoint}"


def named(text: str, settings: Settings, *, folder: bool = False) -> Named:
    """What is meant. A bucket that the configuration has, too, is reached as it says. Raises ConfigError.

    `folder`: a local path that does not exist is to be one.
    """
    scheme, colon, rest = text.partition("://")
    if not colon or scheme == "file":
        return _local(text, unquote(rest) if colon else text, folder, settings)
    location, _, query = rest.partition("?")
    for store in settings.stores.values():
        begin = store.url.partition("?")[0].rstrip("/")
        if not query and f"{scheme}://{location}/".startswith(f"{begin}/"):
            return Named(text, store, unquote(f"{scheme}://{location}"[len(begin) + 1 :]))
    return _at_cloud(text, scheme, location, query)


def _at_cloud(text: str, scheme: str, location: str, query: str) -> Named:
    from skyferry.config.settings import StoreSettings
    from skyferry.config.urls import StoreUrl, resolve_store

    parts = StoreUrl.schemes[scheme].parts if scheme in StoreUrl.schemes else 1
    if "endpoint=" in query:
        parts = 1  # which says the account
    bucket, key = "/".join(location.split("/", parts)[:parts]), "".join(location.split("/", parts)[parts:])
    url = f"{scheme}://{bucket}{'?' if query else ''}{query}"
    try:
        if not StoreUrl.parse(url).at_a_cloud:
            raise ValueError(f"{scheme}:// is for configurations: give a path, or a bucket at a cloud")
        store = StoreSettings(url=url)
        resolve_store(store)
    except ValueError as error:
        raise ConfigError(str(error), where=text.partition("?")[0]) from error
    return Named(text, store, unquote(key))


def _local(text: str, path: str, folder: bool, settings: Settings) -> Named:
    from skyferry.config.settings import StoreSettings
    from skyferry.stores.local.names import key_of

    whole = Path(os.path.abspath(path or "."))
    special = _special_files(whole, settings)
    if folder or path.endswith("/") or whole.is_dir():
        url, bucket = f"file://{quote(str(whole))}", whole.name or "root"
        return Named(text, StoreSettings(url=url, bucket=bucket, special_files=special), "", whole)
    url, bucket = f"file://{quote(str(whole.parent))}", whole.parent.name or "root"
    store = StoreSettings(url=url, bucket=bucket, special_files=special)
    return Named(text, store, key_of(whole.name), whole.parent)


def _special_files(path: Path, settings: Settings) -> Literal["skip", "follow", "fail"]:
    """Return the policy of the configured store whose folder this is, or lies in."""
    from skyferry.config.urls import StoreUrl

    for store in settings.stores.values():
        url = StoreUrl.parse(store.url)
        if url.on_disk and path.resolve().is_relative_to(url.path(settings.workspace).resolve()):
            return store.special_files
    return "skip"


def opened(wanted: Named, opener: Opener) -> ObjectStore:
    """The store of an `Opener` whose settings `only` gave."""
    if wanted.path is not None and not wanted.path.is_dir():
        raise ConfigError("the folder does not exist", where=str(wanted.path))
    return opener.store("store")


def guarded(wanted: Named, opener: Opener) -> ObjectStore:
    """The same, and what fails and may pass is tried again."""
    from skyferry.wiring import protect_opened

    return protect_opened(opener, opened(wanted, opener))


def only(wanted: Named, settings: Settings) -> Settings:
    """The settings with this store alone."""
    return settings.model_copy(update={"stores": {"store": wanted.store}, "routes": ()})
