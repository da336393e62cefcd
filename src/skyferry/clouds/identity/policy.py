"""Rules for identities: long-lived keys only on request, no secrets in the configuration, TLS."""

from __future__ import annotations

import warnings
from urllib.parse import urlsplit

from skyferry.config.urls import is_loopback
from skyferry.errors import ConfigError, IdentityRefused

FEDERATED = {
    "aws": "Give the machine a role (instance profile, IRSA, pod identity), or assume one with a token of another cloud:\n"
    "  identity: {kind: federated, token: google, role_arn: 'arn:aws:iam::ACCOUNT:role/NAME'}",
    "google": "Give the machine a service account, or use a workload identity pool with a token of another cloud:\n"
    "  identity: {kind: federated, token: aws, project: NUMBER, pool: NAME, provider: NAME, service_account: EMAIL}",
    "azure": "Give the machine a managed identity, or add a federated credential for a token of another cloud to the application:\n"
    "  identity: {kind: federated, token: google, tenant_id: ID, client_id: ID}",
}
PREFERRED = {"aws": "`aws sso login`", "google": "`gcloud auth application-default login`", "azure": "`az login`"}


class LongLivedKeyWarning(UserWarning):
    """A key without expiry is used, because the identity is that of the SDK."""


def refuse_long_lived_key(cloud: str, what: str) -> IdentityRefused:
    """Return the error for a key without expiry, with hints to the alternatives."""
    return IdentityRefused(
        f"{what} is a long-lived key, which is only accepted with identity.kind: sdk or static",
        hint=f"{FEDERATED[cloud]}\nOr accept whatever the SDK finds, with a warning:\n  identity: {{kind: sdk}}",
    )


def accept_long_lived_key(cloud: str, what: str, accepted: bool) -> None:
    """Warn of a key without expiry if it is `accepted`. Raises IdentityRefused otherwise."""
    if not accepted:
        raise refuse_long_lived_key(cloud, what)
    place = "at Amazon, " if cloud == "aws" else ""  # other services that speak S3 have no other keys
    text = f"{what} is a long-lived key; {place}{PREFERRED[cloud]} gives keys that expire"
    warnings.warn(text, LongLivedKeyWarning, stacklevel=2)


def require_tls(url: str, *, allow_http: bool = False) -> None:
    """Raise ConfigError for an endpoint without TLS that is not on loopback."""
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and (allow_http or is_loopback(parts.hostname or ""))):
        return
    where = f"{parts.scheme}://{parts.hostname or ''}"
    if parts.scheme != "http":
        shown = where if parts.hostname else url.rpartition("@")[2].partition("?")[0]
        hint = "Give the URL of the server, such as https://s3.example.org."
        raise ConfigError(f"the endpoint {shown!r} does not begin with https://", hint=hint)
    raise ConfigError(
        "an endpoint without TLS", where=where, hint="Use https://, or set allow_http: true if you trust the network."
    )
