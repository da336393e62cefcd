"""The URLs that name stores, queues and ledgers. A new provider is one row of a table here.

`file://FOLDER`, `sim://FOLDER`, `sqlite://FILE`: a path that does not begin with / is inside the workspace
(`file://source`), one that does is absolute (`file:///srv/data`). `memory://NAME` is forgotten when the process ends.
What else a URL names is at a cloud.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import inf
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Self, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from skyferry.config.renamed import URL_OPTIONS
from skyferry.config.settings import DeadLetterSettings, QueueAddress, QueueSettings, SimulatorSettings, StoreSettings
from skyferry.model import Provider


@dataclass(frozen=True, slots=True)
class Scheme:
    """What a URL scheme stands for."""

    form: str  # for messages
    provider: Provider = Provider.MEMORY  # of the objects in a store
    path: bool = False  # the rest names a folder or file
    options: frozenset[str] = frozenset()  # query options that it knows
    settings: frozenset[str] = frozenset()  # what of StoreSettings or QueueSettings means something to it
    parts: int = 1  # of a name at a cloud, separated by slashes, at most
    lease: float = inf  # seconds for which a message can be held at once, at most
    extra: str = ""  # what brings
    needs: tuple[str, ...] = ()  # these modules


S = TypeVar("S", StoreSettings, QueueAddress, QueueSettings, DeadLetterSettings)
Q = TypeVar("Q", QueueAddress, QueueSettings, DeadLetterSettings)
_CLOUD = frozenset({"endpoint", "identity", "allow_http"})
STORES = {
    "s3": Scheme(
        "s3://BUCKET",
        Provider.AWS_S3,
        options=frozenset({"endpoint", "identity", "region", "service"}),
        settings=_CLOUD | {"region", "service", "encryption", "kms_key", "requester_pays"},
        extra="s3",
        needs=("aiohttp", "botocore"),
    ),
    "gs": Scheme(
        "gs://BUCKET",
        Provider.GCP_GCS,
        options=frozenset({"endpoint", "identity", "large_upload_mode"}),
        settings=_CLOUD | {"kms_key", "billing_project", "large_upload_mode"},
        extra="gcs",
        needs=("aiohttp", "google.auth"),
    ),
    "az": Scheme(
        "az://ACCOUNT/CONTAINER",
        Provider.AZURE_BLOB,
        options=frozenset({"endpoint", "identity"}),
        settings=_CLOUD | {"encryption_scope", "hierarchical"},
        parts=2,
        extra="azure",
        needs=("aiohttp", "azure.identity"),
    ),
    "file": Scheme("file://FOLDER", Provider.FILE, path=True, settings=frozenset({"special_files"})),
    "sim": Scheme(
        "sim://FOLDER",
        Provider.FILE,
        path=True,
        options=frozenset(SimulatorSettings.model_fields),
        settings=frozenset({"simulator", "special_files"}),
    ),
    "memory": Scheme("memory://NAME"),
}
QUEUES = {
    "sqs": Scheme(
        "sqs://QUEUE",
        options=frozenset({"endpoint", "identity", "region"}),
        settings=_CLOUD | {"region"},
        parts=2,
        lease=12 * 3600,
        extra="s3",
        needs=("aiohttp", "botocore"),
    ),
    "pubsub": Scheme(
        "pubsub://PROJECT/SUBSCRIPTION",
        options=frozenset({"endpoint", "identity", "topic"}),
        settings=_CLOUD | {"topic"},
        parts=2,
        lease=600,
        extra="pubsub",
        needs=("google.cloud.pubsub_v1",),
    ),
    "azq": Scheme(
        "azq://ACCOUNT/QUEUE",
        options=frozenset({"endpoint", "identity"}),
        settings=_CLOUD,
        parts=2,
        lease=7 * 24 * 3600,
        extra="azure",
        needs=("aiohttp", "azure.identity"),
    ),
}
DATABASES = {"sqlite": Scheme("sqlite://FILE", path=True), "memory": Scheme("memory://NAME")}
HOSTS = {  # whose S3 it is, by the end of the endpoint's host
    "amazonaws.com": "aws",
    "amazonaws.com.cn": "aws",
    "amazonaws.eu": "aws",
    "r2.cloudflarestorage.com": "r2",
    "backblazeb2.com": "b2",
    "storage.googleapis.com": "gcs-interop",
}
EXACT_DELETES = frozenset({"aws"})  # services of S3 whose deletes can demand a version
_USER = re.compile(r"(?<=//)[^/?]*@")
SECRET = re.compile(
    r"(?i)(aws_)?(access_?key(_id)?|secret(_?access)?(_?key)?|session_?token)|(storage_|shared_)?account_?key|sas(_?token)?"
    r"|password|passwd|connection_?string|private_?key|client_?secret|credentials?|api_?key|service_?account_?key|key|token"
)


@dataclass(frozen=True, slots=True)
class Url:
    """A parsed URL."""

    scheme: str
    location: str  # the folder or file, relative to the workspace unless it begins with /; or the name
    options: Mapping[str, str]  # of the query
    renamed: tuple[str, ...] = ()  # options that were given by their old names

    kind: ClassVar[str] = ""  # for messages
    schemes: ClassVar[Mapping[str, Scheme]] = {}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError with a message for people, which names the forms that are known and shows no secret."""
        forms = " or ".join(s.form for s in cls.schemes.values())
        scheme, colon, rest = text.partition("://")
        if not colon or scheme not in cls.schemes:
            raise ValueError(f"{_shown(text)!r} is no {cls.kind} URL that Skyferry knows: {forms}")
        known = cls.schemes[scheme]
        location, _, query = rest.partition("?")
        location = unquote(location)
        if not location.strip("/") or "\0" in location:
            raise ValueError(f"{_shown(text)!r} does not say where: {known.form}")
        if not known.path:
            location = location.strip("/")
            if "@" in location:
                raise ValueError(f"{scheme}:// takes no user and no password: who Skyferry is stands in `identity`")
            if location.count("/") >= known.parts and known.extra:
                raise ValueError(f"{_shown(text)!r} names more than {known.form}: a prefix is the filter's of a route")
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

    @property
    def known(self) -> Scheme:
        """What its scheme stands for."""
        return self.schemes[self.scheme]

    @property
    def on_disk(self) -> bool:
        """Whether it names a folder or file."""
        return self.known.path

    def path(self, workspace: Path) -> Path:
        """The folder or file."""
        return workspace / self.location


@dataclass(frozen=True, slots=True)
class StoreUrl(Url):
    """A bucket or folder."""

    kind = "store"
    schemes = STORES

    @property
    def bucket(self) -> str:
        """The bucket's name in events, unless the settings give another; "" if a folder like `..` has none."""
        if not self.on_disk:
            return self.location.rpartition("/")[2]
        name = Path(self.location).name
        return "" if name == ".." else name

    @property
    def account(self) -> str:
        """Azure's storage account, if the URL says it."""
        return self.location.rpartition("/")[0] if self.scheme == "az" else ""

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
    schemes = MappingProxyType(QUEUES | DATABASES)

    @property
    def account(self) -> str:
        """What stands before the queue's name: an account, or a project."""
        return self.location.rpartition("/")[0]

    @property
    def queue(self) -> str:
        """The queue's name there."""
        return self.location.rpartition("/")[2]

    def topic(self, name: str) -> str:
        """Pub/Sub: a topic's full name; it is one of this project unless it says otherwise."""
        return name if "/" in name else f"projects/{self.account or self.queue}/topics/{name}"


class LedgerUrl(Url):
    """The durable memory."""

    kind = "ledger"
    schemes = DATABASES


def resolved(store: StoreSettings) -> StoreSettings:
    """With the URL's options in their settings, which they override; and at S3 with the service.

    Raises ValueError (pydantic's too).
    """
    url = StoreUrl.parse(store.url)
    if not url.known.extra:
        return store
    store = _overridden(store, url)
    if url.scheme == "s3" and not store.service:
        return store.model_copy(update={"service": _service(store.endpoint)})
    if url.scheme == "az" and not store.endpoint:
        if not url.account:
            raise ValueError("az://CONTAINER needs the account: az://ACCOUNT/CONTAINER, or an endpoint")
        return store.model_copy(update={"endpoint": f"https://{url.account}.blob.core.windows.net"})
    return store


def resolved_queue(queue: Q) -> Q:
    """The same of a queue. Raises ValueError (pydantic's too). Dead letters need a topic, but no subscription to it."""
    url = QueueUrl.parse(queue.url)
    if not url.known.extra:
        return queue
    queue = _overridden(queue, url)
    if url.scheme == "pubsub" and isinstance(queue, DeadLetterSettings):
        if not queue.topic:
            raise ValueError("dead letters need a topic to be sent to: pubsub://PROJECT/SUBSCRIPTION?topic=TOPIC")
    elif url.scheme == "pubsub" and not url.account:
        raise ValueError("pubsub:// needs project and subscription: pubsub://PROJECT/SUBSCRIPTION")
    if url.scheme == "azq" and not queue.endpoint:
        if not url.account:
            raise ValueError("azq://QUEUE needs the account: azq://ACCOUNT/QUEUE, or an endpoint")
        return queue.model_copy(update={"endpoint": f"https://{url.account}.queue.core.windows.net"})
    return queue


def _overridden(settings: S, url: Url) -> S:
    given: dict[str, object] = dict(url.options)
    if kind := given.pop("identity", None):
        given["identity"] = settings.identity.model_dump(exclude_defaults=True) | {"kind": kind}
    return type(settings).model_validate(settings.model_dump(exclude_defaults=True) | given)


def deletes_exactly(store: StoreSettings) -> bool:
    """Whether a delete there can demand that the key holds exactly one version. Raises ValueError."""
    return StoreUrl.parse(store.url).scheme != "s3" or resolved(store).service in EXACT_DELETES


def address(store: StoreSettings) -> tuple[Provider, str]:
    """Provider and bucket: how events name this store. Raises ValueError."""
    url = StoreUrl.parse(store.url)
    provider = url.known.provider
    if provider is Provider.AWS_S3 and resolved(store).service != "aws":
        provider = Provider.S3_COMPATIBLE
    return provider, store.bucket or url.bucket


def own_account(store: StoreSettings) -> str:
    """Azure's account where the store is reached at Azure's own host, else "": events may call it otherwise. Raises ValueError."""
    if StoreUrl.parse(store.url).scheme != "az":
        return ""
    name, _, rest = (urlsplit(resolved(store).endpoint).hostname or "").partition(".")
    return name if rest.startswith(("blob.core.", "dfs.core.")) else ""


def loopback(host: str) -> bool:
    """Whether a host is this machine, by its name alone."""
    try:
        return host == "localhost" or host.endswith(".localhost") or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _service(endpoint: str) -> str:
    """Who speaks S3 at this endpoint. One that is not known gets no benefit of the doubt."""
    host = urlsplit(endpoint).hostname or "amazonaws.com"
    return next((name for end, name in HOSTS.items() if f".{host}".endswith(f".{end}")), "other")


def _shown(text: str) -> str:
    """A URL for messages: without user and password, and without its options."""
    return _USER.sub("***@", text).partition("?")[0]


def _near(name: str, known: frozenset[str]) -> str:
    if SECRET.fullmatch(name):
        return ": a secret does not belong into a URL"
    close = get_close_matches(name, known, 1)
    return f"; did you mean {close[0]!r}?" if close else ""
