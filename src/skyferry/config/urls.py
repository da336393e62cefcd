"""The URLs that name stores, queues and ledgers. A new provider is one row of a table here.

`file://FOLDER`, `sim://FOLDER`, `sqlite://FILE`: a path that does not begin with / is inside the workspace
(`file://source`), one that does is absolute (`file:///srv/data`). `memory://NAME` is forgotten when the process ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Self
from urllib.parse import parse_qsl, unquote

from skyferry.config.settings import SimulatorSettings, StoreSettings
from skyferry.model import Provider


@dataclass(frozen=True, slots=True)
class Scheme:
    """What a URL scheme stands for."""

    form: str  # for messages
    provider: Provider = Provider.MEMORY  # of the objects in a store
    path: bool = True  # the rest names a folder or file
    options: frozenset[str] = frozenset()  # query options that it knows


STORES = {
    "file": Scheme("file://FOLDER", Provider.FILE),
    "sim": Scheme("sim://FOLDER", Provider.FILE, options=frozenset(SimulatorSettings.model_fields)),
    "memory": Scheme("memory://NAME", path=False),
}
DATABASES = {"sqlite": Scheme("sqlite://FILE"), "memory": Scheme("memory://NAME", path=False)}


@dataclass(frozen=True, slots=True)
class Url:
    """A parsed URL."""

    scheme: str
    location: str  # the folder or file, relative to the workspace unless it begins with /; or the name
    options: Mapping[str, str]  # of the query

    kind: ClassVar[str] = ""  # for messages
    schemes: ClassVar[Mapping[str, Scheme]] = {}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError with a message for people, which names the forms that are known."""
        forms = " or ".join(s.form for s in cls.schemes.values())
        scheme, colon, rest = text.partition("://")
        if not colon or scheme not in cls.schemes:
            raise ValueError(f"{text!r} is no {cls.kind} URL that Skyferry knows: {forms}")
        location, _, query = rest.partition("?")
        location = unquote(location)
        if not location.strip("/") or "\0" in location:
            raise ValueError(f"{text!r} does not say where: {cls.schemes[scheme].form}")
        options = dict(parse_qsl(query, keep_blank_values=True))
        for name in options:
            if name not in cls.schemes[scheme].options:
                raise ValueError(f"{scheme}:// has no option {name!r}{_near(name, cls.schemes[scheme].options)}")
        return cls(scheme, location, MappingProxyType(options))

    @property
    def on_disk(self) -> bool:
        """Whether it names a folder or file."""
        return self.schemes[self.scheme].path

    def path(self, workspace: Path) -> Path:
        """The folder or file."""
        return workspace / self.location


class StoreUrl(Url):
    """A bucket or folder."""

    kind = "store"
    schemes = STORES

    @property
    def provider(self) -> Provider:
        """Who keeps the objects, as events say it."""
        return STORES[self.scheme].provider

    @property
    def bucket(self) -> str:
        """The bucket's name in events, unless the settings give another; "" if a folder like `..` has none."""
        if not STORES[self.scheme].path:
            return self.location
        name = Path(self.location).name
        return "" if name == ".." else name

    def simulator(self, settings: SimulatorSettings) -> SimulatorSettings:
        """`settings`, overridden by the options. Raises pydantic's ValidationError, which is a ValueError."""
        given = {
            name: value.split(",") if isinstance(getattr(settings, name), tuple) else value
            for name, value in self.options.items()
        }
        return SimulatorSettings.model_validate(settings.model_dump() | given)


class QueueUrl(Url):
    """Where events come from."""

    kind = "queue"
    schemes = DATABASES


class LedgerUrl(Url):
    """The durable memory."""

    kind = "ledger"
    schemes = DATABASES


def address(store: StoreSettings) -> tuple[Provider, str]:
    """Provider and bucket: how events name this store. Raises ValueError."""
    url = StoreUrl.parse(store.url)
    return url.provider, store.bucket or url.bucket


def _near(name: str, known: frozenset[str]) -> str:
    close = get_close_matches(name, known, 1)
    return f"; did you mean {close[0]!r}?" if close else ""
