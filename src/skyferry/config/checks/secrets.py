"""Check secrets: their length, the permissions of their files, and TLS of their endpoints."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from skyferry.config.checks.validate import ValidDocument
from skyferry.config.identity import IdentitySettings
from skyferry.config.push import SECRET_MIN
from skyferry.config.reading.document import Document
from skyferry.config.reading.faults import Place
from skyferry.config.servers.tls import TlsSettings
from skyferry.config.settings import ServerSettings
from skyferry.config.urls import QueueUrl, StoreUrl, is_loopback

_FILES = ("token_file", "key_file", "secret_file")
_ENDPOINTS = {"aws": ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS"), "azure": ("AZURE_AUTHORITY_HOST",)}


def check_secrets(valid: ValidDocument, document: Document, environ: Mapping[str, str]) -> None:
    """Report every fault and warning."""
    _token(valid.settings.server, document)
    _push(valid, document, environ)
    for place, file in _files(valid):
        _private(place, file, document)
    _traces(valid.settings.tracing.otlp_endpoint, document)
    for place, url, identity in _identities(valid):
        for name in _variables(url, identity):
            _endpoint(name, environ.get(name, ""), identity, place, document)


def _token(server: ServerSettings, document: Document) -> None:
    """Report a short token: a fault if the network can reach the server, a warning on loopback."""
    name = "token" if server.token else "token_file"
    found = server.token.reveal() if server.token else _text(server.token_file)
    if not 0 < len(found.strip()) < SECRET_MIN:  # other checks report missing and empty ones
        return
    local = is_loopback(server.listen.rpartition(":")[0])
    say = document.warn if local else document.fault
    say(("server", name), "the token is short enough to be guessed", f"Use at least {SECRET_MIN} characters.")


def _push(valid: ValidDocument, document: Document, environ: Mapping[str, str]) -> None:
    for door in valid.settings.push:
        found = _text(door.secret_file) if door.secret_file else environ.get(door.secret_env, "")
        if 0 < len(found.strip()) < SECRET_MIN:
            hint = f"Use at least {SECRET_MIN} characters."
            document.fault(("push",), f"{door.name}: the secret is short enough to be guessed", hint)


def _text(file: Path | None) -> str:
    try:
        return file.read_text() if file else ""
    except (OSError, UnicodeDecodeError):
        return ""  # it may exist when the service starts


def _identities(valid: ValidDocument) -> Iterator[tuple[Place, str, IdentitySettings]]:
    settings = valid.settings
    for name, store in settings.stores.items():
        yield ("stores", name, "identity"), store.url, store.identity
    for index, queue in zip(valid.queues, settings.queues, strict=True):
        yield ("queues", index, "identity"), queue.url, queue.identity
    if settings.dead_letters:
        yield ("dead_letters", "identity"), settings.dead_letters.url, settings.dead_letters.identity


def _files(valid: ValidDocument) -> Iterator[tuple[Place, Path]]:
    """Yield every file with a secret, once."""
    seen = set[Path]()
    named: list[tuple[Place, Path | None]] = [(("server", "token_file"), valid.settings.server.token_file)]
    named += [(("push",), door.secret_file) for door in valid.settings.push]
    named.append((("ledger", "identity", "secret_file"), valid.settings.ledger.identity.secret_file))
    for place, _, identity in _identities(valid):
        named += [((*place, name), getattr(identity, name)) for name in _FILES]
    named += [((*place, "key_file"), tls.key_file) for place, tls in _client_keys(valid)]
    for place, file in named:
        if file is not None and file not in seen:
            seen.add(file)
            yield place, file


def _client_keys(valid: ValidDocument) -> Iterator[tuple[Place, TlsSettings]]:
    for index, queue in zip(valid.queues, valid.settings.queues, strict=True):
        yield ("queues", index, "tls"), queue.tls
    yield ("ledger", "tls"), valid.settings.ledger.tls
    if valid.settings.dead_letters:
        yield ("dead_letters", "tls"), valid.settings.dead_letters.tls


def _private(place: Place, file: Path, document: Document) -> None:
    """Report permissions. A writer can choose the secret. Read access of the group is intended; of others it is not."""
    try:
        mode = file.stat().st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        return  # a pipe of the shell
    hint = f"Run: chmod {'640' if mode & stat.S_IRGRP else '600'} {file}"
    if mode & stat.S_IWOTH:
        document.fault(place, f"every user can write {file}, which contains a secret", hint)
    elif mode & stat.S_IWGRP:
        document.warn(place, f"its group can write {file}, which contains a secret", hint)
    if mode & stat.S_IROTH:
        document.warn(place, f"every user can read {file}, which contains a secret", hint)


def _traces(url: str, document: Document) -> None:
    place, parts = ("tracing", "otlp_endpoint"), urlsplit(url)
    if parts.username or parts.password:
        document.fault(place, "the endpoint must not contain credentials", "Set OTEL_EXPORTER_OTLP_HEADERS.")
    elif parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        document.warn(
            place, "traces contain keys and are sent without TLS", "Use https://, unless you trust the network."
        )


def _variables(url: str, identity: IdentitySettings) -> tuple[str, ...]:
    """Return the variables from which the libraries of the clouds read endpoints for this identity."""
    if identity.kind not in ("auto", "sdk", "federated"):
        return ()
    exchanged = _ENDPOINTS["aws"] if identity.kind == "federated" and identity.token == "aws" else ()  # noqa: S105 - no secret
    return tuple(dict.fromkeys((*_ENDPOINTS.get(_cloud(url), ()), *exchanged)))


def _cloud(url: str) -> str:
    scheme = url.partition("://")[0]
    row = StoreUrl.schemes.get(scheme) or QueueUrl.schemes.get(scheme)
    return row.cloud if row else ""


def _endpoint(name: str, url: str, identity: IdentitySettings, place: Place, document: Document) -> None:
    """Report an endpoint without TLS, or with credentials in it."""
    parts = urlsplit(url)
    if parts.username or parts.password:
        document.fault(place, f"{name} contains credentials", "Set the address alone.")
    elif parts.scheme == "http" and not identity.allow_http and not is_loopback(parts.hostname or ""):
        hint = "Use https://, or set identity: {allow_http: true} if you trust the network."
        document.fault(place, f"{name} is an endpoint without TLS that receives credentials", hint)
