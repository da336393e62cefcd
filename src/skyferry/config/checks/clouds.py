"""Check stores and queues at clouds: TLS, no secrets in URLs, installed extras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from skyferry.config.identity import DEFAULT_LOGIN, IdentitySettings
from skyferry.config.reading.document import Document
from skyferry.config.reading.faults import Place
from skyferry.config.reading.renamed import URL_OPTIONS
from skyferry.config.schemes import AT_A_SERVER
from skyferry.config.sections.faults import InvalidSettings
from skyferry.config.settings import DeadLetterSettings, LedgerSettings, QueueAddress, QueueSettings, StoreSettings
from skyferry.config.urls import LedgerUrl, QueueUrl, StoreUrl, Url, is_loopback, resolve_queue, resolve_store
from skyferry.extras import install_command
from skyferry.regex import compile_lazily

_OF_CLOUDS = frozenset[str]().union(*(scheme.settings for scheme in StoreUrl.schemes.values())) - {"simulator"}
_OF_QUEUES = frozenset({"endpoint", "region", "topic", "allow_http", "identity", "tls"})
_POOL_NAME = compile_lazily(r"(?!gcp-)[a-z0-9-]{4,32}")
S = TypeVar("S", StoreSettings, QueueSettings, DeadLetterSettings)
Q = TypeVar("Q", QueueSettings, DeadLetterSettings)


def check_store(store: StoreSettings, url: StoreUrl, place: Place, document: Document) -> bool:
    """Report faults and warnings of a store; return whether it can be resolved."""
    at = (*place, "url") if place[0] == "stores" else place
    for old in url.renamed:
        document.rename(at, f"option `{old}` is now called `{URL_OPTIONS[old]}`")
    for name in sorted(_OF_CLOUDS & store.model_fields_set - url.known.settings):
        document.warn((*place, name), "is ignored", f"Remove it: it does not apply to {url.scheme}://.")
    if not url.at_a_cloud:
        return True
    found = _reached(store, lambda given: resolve_store(given).settings, url, place, at, document)
    if found is not None and found.encryption == "AES256" and found.kms_key:
        document.fault(
            (*place, "kms_key"), "is not used by encryption AES256", "Set encryption: aws:kms, or remove the key."
        )
    return found is not None


def check_queue(settings: Q, url: QueueUrl, place: Place, document: Document) -> Q | None:
    """Report faults and warnings of a queue; return its completed settings, or None if it cannot be resolved."""
    for name in sorted(_OF_QUEUES & settings.model_fields_set - url.known.settings):
        document.warn((*place, name), "is ignored", f"Remove it: it does not apply to {url.scheme}://.")
    if not url.at_a_cloud:
        return settings
    if settings.lease > url.known.traits.max_lease:
        why = f"is longer than {url.scheme}:// allows: {url.known.traits.max_lease:g} s"
        document.fault((*place, "lease"), why, "Set 60s: leases are renewed during a copy.")
    return _reached(settings, _complete_queue, url, place, (*place, "url"), document)


def check_ledger(settings: LedgerSettings, url: LedgerUrl, document: Document) -> None:
    """Report faults and warnings of the ledger."""
    for name in sorted(AT_A_SERVER & settings.model_fields_set - url.known.settings):
        document.warn(("ledger", name), "is ignored", f"Remove it: it does not apply to {url.scheme}://.")
    check_extra(url, ("ledger", "url"), document)
    _check_login(settings.identity, url, ("ledger", "identity"), document)
    try:
        url.known.check(settings)
    except ValueError as error:
        document.fault(("ledger", "url"), str(error))


def is_same_queue(one: QueueAddress, other: QueueAddress) -> bool:
    """Return whether two resolved queues may be one. A property that only one of them has counts as equal."""
    left, right = QueueUrl.parse(one.url), QueueUrl.parse(other.url)
    if left.scheme != right.scheme or one.endpoint != other.endpoint:
        return False
    if left.known.cloud == "server":
        return (left.location, left.options) == (right.location, right.options)
    if one.topic and other.topic and left.topic(one.topic) == right.topic(other.topic):
        return True
    named = (left.account, right.account), (one.region, other.region)
    return left.queue == right.queue and all(a == b or not (a and b) for a, b in named)


def _complete_queue(given: Q) -> Q:
    settings = resolve_queue(given).settings
    assert isinstance(settings, type(given))  # completion does not change the kind
    return settings


def _reached(
    given: S, resolve: Callable[[S], S], url: Url[Any], place: Place, at: Place, document: Document
) -> S | None:
    """Return the completed settings, or None if options of the URL are at fault."""
    check_extra(url, at, document)
    try:
        settings = resolve(given)
    except InvalidSettings as error:
        fault = error.faults[0]
        document.fault(at, f"option {fault.place[0]}: {fault.message}")
        return None
    except ValueError as error:
        document.fault(at, str(error))
        return None
    where = at if "endpoint" in url.options or "endpoint" not in given.model_fields_set else (*place, "endpoint")
    check_endpoint(settings.endpoint, settings.allow_http, where, document)
    for name in ("endpoint", "iam_endpoint", "token_url"):
        check_endpoint(
            getattr(settings.identity, name), settings.identity.allow_http, (*place, "identity", name), document
        )
    _names(settings.identity, (*place, "identity"), document)
    _check_login(settings.identity, url, (*place, "identity"), document)
    return settings


def _check_login(identity: IdentitySettings, url: Url[Any], place: Place, document: Document) -> None:
    """Report a login by a token where only PostgreSQL has one."""
    if identity.login != DEFAULT_LOGIN and not url.known.token_login:
        what = f"{identity.login} does not apply to {url.scheme}://"
        document.fault((*place, "login"), what, "Remove it: kind chooses the identity.")


def _names(identity: IdentitySettings, place: Place, document: Document) -> None:
    """Check the names of a workload identity pool and its provider by Google's rules."""
    for name in ("pool", "provider"):
        value = getattr(identity, name)
        if value and not _POOL_NAME.fullmatch(value):
            hint = "Use 4 to 32 characters of a to z, 0 to 9 and -, not beginning with gcp-."
            document.fault((*place, name), f"{value!r} is not a valid name at Google", hint)


def check_extra(url: Url[Any], place: Place, document: Document) -> None:
    """Report modules of the adapter that are not installed."""
    if missing := [name for name in url.known.needs if not document.finds_module(name)]:
        hint = install_command(url.known.extra)
        document.fault(place, f"{url.scheme}:// needs {' and '.join(missing)}, which is not installed", hint)


def check_endpoint(url: str, allow_http: bool, place: Place, document: Document) -> None:
    """Report an endpoint without TLS, or with credentials in it."""
    if not url:
        return
    try:
        parts = urlsplit(url)
    except ValueError:  # a [ without its ]
        parts = urlsplit("")
    if parts.username or parts.password:
        document.fault(place, "the endpoint must not contain credentials", "Configure `identity` instead.")
    elif parts.scheme not in ("https", "http") or not parts.hostname:
        document.fault(place, "is not the URL of a server", "Use a URL such as https://minio.example.org:9000.")
    elif parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname):
        document.fault(
            place, "is an endpoint without TLS", "Use https://, or set allow_http: true if you trust the network."
        )
