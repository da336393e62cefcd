"""Objects and prefixes on the command line: a URL with a key, or a path."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from skyferry.errors import ConfigError, SkyferryError, flatten_group
from skyferry.frozen import dataclass

if TYPE_CHECKING:
    from skyferry.config.settings import Settings, StoreSettings
    from skyferry.discovery.selection import Wildcard
    from skyferry.model import ObjectRef
    from skyferry.ports import ObjectStore
    from skyferry.wiring import Opener


@dataclass(frozen=True, slots=True)
class ObjectLocation:
    """An object or a prefix in a store."""

    text: str
    store: StoreSettings
    key: str  # "" = the whole store
    path: Path | None = None  # the folder of a local store
    wildcard: Wildcard | None = None  # the objects that are meant, unless there is one with this very key

    @property
    def folder(self) -> bool:
        """True if the key is a prefix: empty, or ending with /."""
        return not self.key or self.key.endswith("/")

    @property
    def several(self) -> bool:
        """True if it names a prefix or a wildcard."""
        return self.folder or self.wildcard is not None

    @property
    def ref(self) -> ObjectRef:
        """Return the object as events name it."""
        from skyferry.config.urls import resolve_store
        from skyferry.model import ObjectRef

        return ObjectRef(*resolve_store(self.store).address, self.key)

    @property
    def identity(self) -> str:
        """Return an identifier that is equal for equal stores."""
        provider, bucket = self.ref.provider, self.ref.bucket
        return f"{provider} {self.path or bucket} {self.store.url} {self.store.endpoint}"


def locate_object(text: str, settings: Settings, *, folder: bool = False) -> ObjectLocation:
    """Return the location of a URL or path. Raises ConfigError.

    A configured bucket is accessed with its configured settings. `folder`: treat a missing local path as a folder. `*` is any
    text within a folder, `**` any number of folders; an object with this very key wins, and %2A in a URL is no wildcard.
    """
    scheme, colon, rest = text.partition("://")
    if not colon:
        _reject_no_path(text)
    path = rest if scheme == "file" and colon else text
    if path.partition("/")[0] == "~":
        hint = f"write the whole path; for a folder of this name, write ./{path}"
        raise ConfigError("only a shell replaces ~, and not in quotes", where=text, hint=hint)
    if not colon or scheme == "file":
        try:
            return _local(text, rest if colon else quote(text, safe="/*"), folder, settings)
        except UnicodeEncodeError as error:
            hint = "rename the file or folder"
            raise ConfigError("the path is not valid UTF-8", where=text, hint=hint) from error
    location, _, query = rest.partition("?")
    for store in settings.stores.values():
        begin = store.url.partition("?")[0].rstrip("/")
        if not query and f"{scheme}://{location}/".startswith(f"{begin}/"):
            key = f"{scheme}://{location}"[len(begin) + 1 :]
            return ObjectLocation(text, _use_sdk(store), unquote(key), wildcard=_parse_wildcard(key, text))
    return _at_cloud(text, scheme, location, query)


def _reject_no_path(text: str) -> None:
    """Raise ConfigError for what is neither a URL nor meant as a path, such as an empty variable of a script or `s3:bucket`."""
    if not text:
        raise ConfigError("the path is empty", hint="name a file or folder, such as . for the current folder")
    first = text.partition("/")[0]
    if ":" in first and not os.path.lexists(first):
        hint = f"write s3://BUCKET/KEY or the like; for a local path, write ./{text}"
        raise ConfigError("nothing here has this name, and it is no URL of a store", where=text, hint=hint)


def _at_cloud(text: str, scheme: str, location: str, query: str) -> ObjectLocation:
    from skyferry.config.urls import StoreUrl, resolve_store, show_url

    parts = StoreUrl.schemes[scheme].parts if scheme in StoreUrl.schemes else len(location)
    if "endpoint=" in query:
        parts = 1  # the endpoint determines the account
    bucket, key = "/".join(location.split("/", parts)[:parts]), "".join(location.split("/", parts)[parts:])
    url = f"{scheme}://{bucket}{'?' if query else ''}{query}"
    try:
        if "*" in bucket:
            raise ValueError("a wildcard works in keys, not in the name of a bucket")
        if not StoreUrl.parse(url).at_a_cloud:
            raise ValueError(
                f"{scheme}:// works only in a configuration: use a path, or the URL of a bucket in a cloud"
            )
        store = _use_sdk(build_store(url=url, **_read_aws_settings(scheme, StoreUrl.parse(url).options)))
        resolve_store(store)
    except ValueError as error:
        raise ConfigError(str(error), where=show_url(text)) from error
    return ObjectLocation(text, store, unquote(key), wildcard=_parse_wildcard(key, text))


def build_store(**values: Any) -> StoreSettings:
    """Validate the settings of a store that is not in the configuration. Raises ValueError."""
    from skyferry.config.settings import StoreSettings

    return StoreSettings.model_validate(values)


def _use_sdk(store: StoreSettings) -> StoreSettings:
    """Let a person use the identity that the SDK of the cloud finds, unless the settings choose another."""
    if store.identity.kind != "auto":
        return store
    return store.model_copy(update={"identity": store.identity.model_copy(update={"kind": "sdk"})})


def _read_aws_settings(scheme: str, options: Mapping[str, str]) -> dict[str, str]:
    """Return the region and the endpoint of the AWS profile, where the URL has neither an endpoint nor a service."""
    if scheme != "s3" or options.keys() & {"endpoint", "service"}:
        return {}
    from skyferry.clouds.identity.aws_profile import read_profile

    profile = read_profile(os.environ)
    return {"endpoint": profile.endpoint, "region": profile.region}


def _parse_wildcard(quoted: str, text: str) -> Wildcard | None:
    """Return the wildcard of a percent-encoded key; None if it has none. Raises ConfigError."""
    if "*" not in quoted:
        return None
    from skyferry.discovery.selection import Wildcard
    from skyferry.routing.key_filter import compile_wildcard

    prefix, slash, _ = quoted.partition("*")[0].rpartition("/")
    pieces = quoted[len(prefix + slash) :].split("*")
    try:
        pattern = compile_wildcard([unquote(piece) for piece in pieces])
    except ValueError as error:
        raise ConfigError(f"the wildcard {error}", where=text) from error
    return Wildcard(text, unquote(prefix + slash), lambda key: pattern.fullmatch(key) is not None)


def _local(text: str, quoted: str, folder: bool, settings: Settings) -> ObjectLocation:
    """Return the location of a percent-encoded path."""
    from dataclasses import replace

    from skyferry.stores.local.names import key_of

    path = unquote(quoted)
    whole = Path(os.path.abspath(path or "."))
    if "*" in quoted and not whole.exists():
        prefix, slash, _ = quoted.partition("*")[0].rpartition("/")
        wildcard = _parse_wildcard(quoted[len(prefix + slash) :], text)
        return replace(_local(text, prefix + slash or "./", True, settings), wildcard=wildcard)
    own = _find_configured(whole, settings)
    if folder or path.endswith("/") or whole.is_dir():
        return ObjectLocation(text, _build_folder(whole, own), "", whole)
    return ObjectLocation(text, _build_folder(whole.parent, own), key_of(whole.name), whole.parent)


def _build_folder(path: Path, own: Mapping[str, Any]) -> StoreSettings:
    url = f"file://{quote(str(path))}{'' if path.name else '.'}"  # a URL of / alone has no location
    return build_store(url=url, bucket=path.name or "root", **own)


def _find_configured(path: Path, settings: Settings) -> dict[str, Any]:
    """Return what the configured store whose folder contains `path` says of all its files."""
    from skyferry.config.urls import StoreUrl

    for store in settings.stores.values():
        url = StoreUrl.parse(store.url)
        if url.on_disk and path.resolve().is_relative_to(url.path(settings.workspace).resolve()):
            return {"special_files": store.special_files, "fsync": store.fsync}
    return {}


def open_location(wanted: ObjectLocation, opener: Opener) -> ObjectStore:
    """Open the store. `opener` must have the settings of `restrict_settings`."""
    if wanted.path is not None and not wanted.path.is_dir():
        raise ConfigError("the folder does not exist", where=str(wanted.path), hint="create it, or correct the path")
    return opener.store("store")


@contextmanager
def name_as_typed(ends: Mapping[str, ObjectLocation]) -> Iterator[None]:
    """Let an error about a whole store, or about the object that was typed, name what was typed. `ends`: by name of the store."""
    try:
        yield
    except (SkyferryError, BaseExceptionGroup) as failure:
        from skyferry.discovery.listing import PROBE

        errors = flatten_group(failure) if isinstance(failure, BaseExceptionGroup) else (failure,)
        for error in (each for each in errors if isinstance(each, SkyferryError)):
            store, _, key = error.where.partition(" ")
            if (end := ends.get(store)) and key in ("", PROBE, end.key, end.key.rstrip("/")):
                error.where = end.text
        raise


@asynccontextmanager
async def open_protected(wanted: ObjectLocation, settings: Settings) -> AsyncIterator[ObjectStore]:
    """The store with retries of transient failures, for as long as the block. Raises ConfigError."""
    from skyferry.wiring import Opener, protect_opened

    opener = Opener(restrict_settings(wanted, settings))
    store = protect_opened(opener, open_location(wanted, opener))
    try:
        with name_as_typed({"store": wanted}):
            yield store
    finally:
        await store.close()
        await opener.close()


def restrict_settings(wanted: ObjectLocation, settings: Settings) -> Settings:
    """Return the settings with only this store, named "store", and without routes."""
    return settings.model_copy(update={"stores": {"store": wanted.store}, "routes": ()})
