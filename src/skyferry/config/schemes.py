"""The rows of URL schemes. Each is kept beside its adapter and gathered in `schemes.py` of `stores`, `queues` and `ledgers`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from skyferry.config.settings import LedgerSettings, QueueAddress, StoreSettings
from skyferry.events.s3_keys import KeyEncoding
from skyferry.frozen import dataclass
from skyferry.model import Provider, QueueTraits

Cloud = Literal["", "aws", "google", "azure", "cloudflare", "server"]  # server = one of your own, with a password
Sharing = Literal["process", "machine", "network"]  # those that can open the same queue or ledger
AT_A_CLOUD = frozenset({"endpoint", "identity", "allow_http"})  # settings of everything at a cloud
AT_A_SERVER = frozenset({"identity", "allow_http", "tls"})  # settings of everything at a server of one's own


@dataclass(frozen=True, slots=True)
class Scheme:
    """The common part of the rows of stores, queues and ledgers."""

    form: str  # for messages
    opens: Callable[[Any], Any]  # opens the adapter, given its context of `ports.opening`; imports it only then
    maintains: Callable[[Any], Any] | None = (
        None  # opens, given the same, what checks and repairs; None = nothing to check
    )
    path: bool = False  # the rest of the URL names a folder or file
    options: frozenset[str] = frozenset()  # query options
    settings: frozenset[str] = frozenset()  # settings that apply to this scheme, of those that not all schemes have
    parts: int = 1  # of a name at a cloud, separated by slashes, at most
    cloud: Cloud = ""  # the provider of identities; "" = it is on this machine
    secret_env: str = ""  # of a server: the variable with the password
    token_login: bool = False  # of a server: `identity.login` may choose tokens of a cloud instead of the password
    extra: str = ""  # the extra that installs the modules that it needs
    needs: tuple[str, ...] = ()

    @property
    def shared_by(self) -> Sharing:
        """The widest place whose processes can open the same one."""
        return "network" if self.cloud else "machine" if self.path else "process"


@dataclass(frozen=True, slots=True)
class StoreProfile:
    """Properties that a store's settings decide."""

    provider: Provider = Provider.MEMORY
    account: str = ""  # the storage account that its events name
    region: str = ""  # the region at Amazon that its events name
    names_endpoint: bool = False  # its events name an endpoint, as the server knows itself
    namespace: str = ""  # in which bucket names are unique; "" = in the endpoint
    tags: bool = True  # objects can have tags
    exact_deletes: bool = True  # a delete can require that the key has one certain version
    event_keys: KeyEncoding = "auto"  # the form of keys in its notifications
    unidentified: bool = False  # neither settings nor host say which service it is
    versioned_service: str = ""  # the service to assume if the bucket keeps versions, where it is another
    queues: frozenset[str] | None = None  # schemes of the queues that it can notify; None = of any
    push: frozenset[str] | None = None  # kinds of push endpoints that it can notify; None = any


def _store_as_given(settings: StoreSettings, account: str) -> StoreSettings:
    return settings


def _queue_as_given(settings: QueueAddress, account: str) -> QueueAddress:
    return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreScheme(Scheme):
    """A scheme of stores."""

    providers: tuple[Provider, ...]  # as events name them, the most usual first
    profile: Callable[[StoreSettings], StoreProfile]  # of completed settings
    complete: Callable[[StoreSettings, str], StoreSettings] = (
        _store_as_given  # with what the URL's account implies; ValueError
    )
    # Asks the server which service it is, and the bucket if it keeps versions where that makes a difference, given a
    # `StoreContext`; "" if it does not say. SkyferryError
    identify: Callable[[Any], Awaitable[str]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueScheme(Scheme):
    """A scheme of queues."""

    traits: QueueTraits = QueueTraits()
    translate: Callable[[str], str] = lambda text: (
        ""
    )  # a name of the provider, such as an ARN, as a URL of this scheme; "" = none
    complete: Callable[[QueueAddress, str], QueueAddress] = _queue_as_given  # as for stores
    sends: Callable[[QueueAddress], bool] = lambda settings: True  # messages can be sent to a queue with these settings
    unreadable: str = ""  # the instruction for a queue without account: messages can be sent to it, but not received


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerScheme(Scheme):
    """A scheme of ledgers. `opens` is a coroutine function."""

    check: Callable[[LedgerSettings], None] = lambda settings: None  # raises ValueError for a faulty address
