"""What is allowed: no long-lived key unless it is said, no secret in the configuration, no wire without TLS."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from skyferry.config.urls import is_loopback
from skyferry.errors import ConfigError, IdentityRefused

FEDERATED = {
    "aws": "let the machine have a role (instance profile, IRSA, pod identity), or assume one with a token of where it runs:\n"
    "  identity: {kind: federated, token: google, role_arn: 'arn:aws:iam::ACCOUNT:role/NAME'}",
    "google": "let the machine have a service account, or use a workload identity pool with a token of where it runs:\n"
    "  identity: {kind: federated, token: aws, project: NUMBER, pool: NAME, provider: NAME, service_account: EMAIL}",
    "azure": "let the machine have a managed identity, or give the application a federated credential for where it runs:\n"
    "  identity: {kind: federated, token: google, tenant_id: ID, client_id: ID}",
}


def refuse_long_lived_key(cloud: str, what: str) -> IdentityRefused:
    """The refusal of a key that does not end by itself, with the way to do without."""
    return IdentityRefused(
        f"{what} is a long-lived key, which is not used unless identity.kind is static", hint=FEDERATED[cloud]
    )


def read_secret(env: Mapping[str, str], name: str, path: Path | None, what: str) -> str:
    """What the file holds, else the variable. Raises ConfigError where neither does. Blocks: call it in a thread."""
    if path is not None:
        try:
            found = path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ConfigError(f"the {what} cannot be read: {reason}", where=str(path)) from error
        if not found:
            raise ConfigError(f"the {what} is empty", where=str(path))
        return found
    if name and env.get(name, "").strip():
        return env[name].strip()
    raise ConfigError(f"there is no {what}", hint=f"put it into a file or into the variable {name or 'that is named'}")


def require_tls(url: str, *, allow_http: bool = False) -> None:
    """Raises ConfigError for an endpoint whose wire anybody may read or change. Loopback may do without TLS."""
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and (allow_http or is_loopback(parts.hostname or ""))):
        return
    where = f"{parts.scheme}://{parts.hostname or ''}"
    if parts.scheme != "http":
        raise ConfigError("an endpoint begins with https://", where=where)
    raise ConfigError(
        "an endpoint without TLS", where=where, hint="use https://, or say allow_http: true where the network is yours"
    )
