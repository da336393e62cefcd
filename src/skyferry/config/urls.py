"""The URLs that name stores, queues and ledgers. Each is parsed once, into a record that everything takes.

`file://FOLDER`, `sim://FOLDER`, `sqlite://FILE`: a path that begins with / is absolute (`file:///srv/data`); others are in the
workspace (`file://source`). `memory://NAME` is lost when the process ends. All other schemes name something at a cloud.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Self, TypeVar
from urllib.parse import parse_qsl, unquote

from skyferry.clouds.accounts import storage_account
from skyferry.config.reading.renamed import URL_OPTIONS
from skyferry.config.schemes import LedgerScheme, QueueScheme, Scheme, StoreProfile, StoreScheme
from skyferry.config.sections.kinds import find_unreplaced
from skyferry.config.servers.address import has_password, reject_password
from skyferry.config.servers.address import is_loopback as is_loopback
from skyferry.config.settings import (
    DeadLetterSettings,
    LedgerSettings,
    QueueAddress,
    QueueSettings,
    SimulatorSettings,
    StoreSettings,
)
from skyferry.frozen import dataclass
from skyferry.ledgers.schemes import LEDGERS
from skyferry.model import Provider
from skyferry.queues.schemes import QUEUES
from skyferry.regex import compile_lazily
from skyferry.stores.schemes import STORES

R = TypeVar("R", bound=Scheme)


S = TypeVar("S", StoreSettings, QueueAddress, QueueSettings, DeadLetterSettings)
# All up to the last @ behind what may be a user, also where it seems to be a port: a password may begin with digits and a slash
_USER = compile_lazily(r"(?<=:)(/{0,2})(?:[^/?@\[]*:.*@|[^/?]*@)")
SECRET = compile_lazily(
    r"(?i)(aws_)?(access_?key(_id)?|secret(_?access)?(_?key)?|session_?token)|(storage_|shared_)?account_?key|sas(_?token)?"
    r"|password|passwd|connection_?string|private_?key|client_?secret|credentials?|api_?key|service_?account_?key|key|token"
)


@dataclass(frozen=True, slots=True)
class Url(Generic[R]):
    """A parsed URL."""

    scheme: str
    location: str  # the folder or file, relative to the workspace unless it begins with /; or the name
    options: Mapping[str, str]  # of the query
    renamed: tuple[str, ...] = ()  # options that were given by their old names

    kind: ClassVar[str] = ""  # for messages
    schemes: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a URL. Raises ValueError with a message that names the known forms and contains no secret."""
        if text[:1] in ("'", '"') and text[-1:] == text[:1]:
            raise ValueError(f"{show_url(text[1:-1])} is in quotes that are part of it: remove them")
        scheme, colon, rest = text.partition("://")
        if not colon or scheme not in cls.schemes:
            raise ValueError(f"{show_url(text)!r} is not a known {cls.kind} URL: use {cls._suggest_forms(text)}")
        known = cls.schemes[scheme]
        if not known.path and text != text.strip():
            raise ValueError(f"{show_url(text)!r} has spaces around it: remove them")
        location, _, query = rest.partition("?")
        if unreplaced := find_unreplaced(location, path=known.path):
            raise ValueError(f"{show_url(text)!r} has {unreplaced}: write the value in its place")
        _reject_user(cls.kind, text, location, known)
        location = unquote(location)
        if not location.strip("/") or "\0" in location:
            raise ValueError(f"{show_url(text)!r} has no location: use {known.form}")
        if not known.path:
            location = location.strip("/")
            _reject_credentials(known.cloud, scheme, rest)
            if location.count("/") >= known.parts and known.cloud:
                raise ValueError(
                    f"{show_url(text)!r} names more than {known.form}; put a prefix into the filter of a route"
                )
            _reject_strange(text, location, known)
        options, renamed = dict[str, str](), []
        for written, value in parse_qsl(query, keep_blank_values=True):
            name = URL_OPTIONS.get(written, written)
            if name not in known.options:
                raise ValueError(f"{scheme}:// has no option {written!r}{_near(written, known.options)}")
            if name != written:
                renamed.append(written)
            if name in options and renamed:
                raise ValueError(f"{renamed[0]!r} is the old name of the option {name!r}, which is given as well")
            options[name] = value
        return cls(scheme, location, MappingProxyType(options), tuple(renamed))

    @classmethod
    def _suggest_forms(cls, text: str) -> str:
        """Return the forms of URLs that `text` may have meant: those of a similar scheme, else all."""
        from difflib import get_close_matches

        name, colon, _ = text.strip().lower().partition(":")
        if "sentinel" in name and "redis" in cls.schemes:
            return "redis://HOST,HOST/NAME?sentinel=PRIMARY"
        close = get_close_matches(name, cls.schemes, 1, cutoff=0.7) if colon else []
        forms = [cls.schemes[each].form for each in close or cls.schemes]
        if not colon and text.strip() and cls.kind == "store":
            forms = [
                f"file://{show_url(text)} for a folder",
                *(form for form in forms if form != cls.schemes["file"].form),
            ]
        return " or ".join(forms)

    @property
    def known(self) -> R:
        """The row of its scheme."""
        row: R = self.schemes[self.scheme]
        return row

    @property
    def on_disk(self) -> bool:
        """True if it names a folder or file."""
        return self.known.path

    @property
    def at_a_cloud(self) -> bool:
        """True if it names something that is reached with an identity."""
        return bool(self.known.cloud)

    def path(self, workspace: Path) -> Path:
        """The folder or file."""
        return workspace / self.location


@dataclass(frozen=True, slots=True)
class StoreUrl(Url[StoreScheme]):
    """A bucket or folder."""

    kind = "store"
    schemes: ClassVar[Mapping[str, StoreScheme]] = STORES

    @property
    def bucket(self) -> str:
        """The name of the bucket in events, unless the settings name another; "" if a folder like `..` has none."""
        if not self.on_disk:
            return self.location.rpartition("/")[2]
        name = Path(self.location).name
        return "" if name == ".." else name

    @property
    def account(self) -> str:
        """The storage account, if the URL names it."""
        return "" if self.on_disk else self.location.rpartition("/")[0]

    def simulator(self, settings: SimulatorSettings) -> SimulatorSettings:
        """Return the settings with the options of the URL. Raises InvalidSettings."""
        given = {
            name: value.split(",") if isinstance(getattr(settings, name), tuple) else value
            for name, value in self.options.items()
        }
        return settings.override(given)


class QueueUrl(Url[QueueScheme]):
    """A queue."""

    kind = "queue"
    schemes: ClassVar[Mapping[str, QueueScheme]] = QUEUES

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a URL, or a name that the provider gives the queue. Raises ValueError as `Url.parse`."""
        own = next(filter(None, (scheme.translate(text) for scheme in cls.schemes.values())), text)
        return super().parse(own)

    @property
    def account(self) -> str:
        """The part before the name of the queue: an account, or a project."""
        return self.location.rpartition("/")[0]

    @property
    def queue(self) -> str:
        """The name of the queue."""
        return self.location.rpartition("/")[2]

    def topic(self, name: str) -> str:
        """Return the full name of a Pub/Sub topic, by default in this project."""
        return name if "/" in name else f"projects/{self.account or self.queue}/topics/{name}"


class LedgerUrl(Url[LedgerScheme]):
    """The ledger."""

    kind = "ledger"
    schemes: ClassVar[Mapping[str, LedgerScheme]] = LEDGERS


@dataclass(frozen=True, slots=True)
class ResolvedStore:
    """A store: its parsed URL, its settings with what the URL says and implies, and what follows from them."""

    url: StoreUrl
    settings: StoreSettings
    profile: StoreProfile

    @property
    def address(self) -> tuple[Provider, str]:
        """Provider and bucket, as events name them."""
        return self.profile.provider, self.settings.bucket or self.url.bucket

    @property
    def account(self) -> str:
        """The storage account of its endpoint."""
        return self.url.account or storage_account(self.settings.endpoint)


@dataclass(frozen=True, slots=True)
class ResolvedQueue:
    """A queue: its parsed URL, and its settings with what the URL says and implies."""

    url: QueueUrl
    settings: QueueAddress

    @property
    def account(self) -> str:
        """The storage account, or the project, or the account at AWS."""
        return self.url.account or storage_account(self.settings.endpoint)


@lru_cache(maxsize=65536)
def resolve_store(store: StoreSettings) -> ResolvedStore:
    """Parse the URL of a store once, and apply it. Options of the URL override settings. Raises ValueError."""
    url = StoreUrl.parse(store.url)
    settings = url.known.complete(_overridden(store, url) if url.known.cloud else store, url.account)
    return ResolvedStore(url, settings, url.known.profile(settings))


@lru_cache(maxsize=65536)
def resolve_queue(queue: QueueAddress) -> ResolvedQueue:
    """Parse the URL of a queue once, and apply it. Raises ValueError."""
    url = QueueUrl.parse(queue.url)
    settings = url.known.complete(_overridden(queue, url) if url.known.cloud else queue, url.account)
    return ResolvedQueue(url, settings)


def resolve_ledger(ledger: LedgerSettings) -> LedgerUrl:
    """Parse and check the URL of the ledger. Raises ValueError."""
    url = LedgerUrl.parse(ledger.url)
    url.known.check(ledger)
    return url


def _overridden(settings: S, url: Url[Any]) -> S:
    fields = settings.model_fields  # the adapter reads the other options
    given: dict[str, object] = {name: value for name, value in url.options.items() if name in fields}
    if kind := given.pop("identity", None):
        given["identity"] = settings.identity.list_given() | {"kind": kind}
    return settings.override(given)


def _reject_credentials(cloud: str, scheme: str, rest: str) -> None:
    if cloud == "server":  # its URL may name a user
        reject_password(rest)
    elif "@" in unquote(rest.partition("?")[0]) or has_password(rest):
        raise ValueError(f"{scheme}:// must not contain credentials; configure `identity` instead")


def _reject_strange(text: str, location: str, known: Scheme) -> None:
    """Raise ValueError for a letter that no cloud has in such a name: it may look like one that the name has."""
    if known.cloud not in ("", "server") and not location.isascii():
        strange = next(character for character in location if not character.isascii())
        raise ValueError(f"{show_url(text)!r} has {strange!r} ({ascii(strange)[1:-1]}), which no such name has")


def show_url(text: str) -> str:
    """Return a URL for messages, without credentials and options."""
    return _USER.sub(r"\1***@", text, 1).partition("?")[0]


def _reject_user(kind: str, text: str, location: str, known: Scheme) -> None:
    """Raise ValueError for `sqlite://USER@HOST/…`. A folder of a store may well have such a name."""
    if known.path and kind != "store" and "@" in location.partition("/")[0]:
        raise ValueError(
            f"{show_url(text)!r} has a user, but it names a file on this machine: use {known.form} "
            "(with %40 for an @ in its name), or the URL of a server"
        )


def _near(name: str, known: frozenset[str]) -> str:
    if SECRET.fullmatch(name):
        return "; remove the secret from the URL"
    from difflib import get_close_matches

    close = get_close_matches(name, known, 1)
    return f"; did you mean {close[0]!r}?" if close else ""
