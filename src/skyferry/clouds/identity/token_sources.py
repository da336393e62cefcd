"""Sources of tokens for an exchange: a file, a URL, or the identity of this machine at a cloud."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from skyferry.clouds.identity.exchange import TokenRequest, request_token
from skyferry.errors import IdentityRefused

TokenSource = Callable[[], Awaitable[str]]  # called for each exchange; raises as a `CredentialsProvider` does


def token_from_file(path: Path) -> TokenSource:
    """Read the token from a file for each exchange, for Kubernetes replaces projected tokens."""

    async def give() -> str:
        try:
            token = (await asyncio.to_thread(path.read_text)).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise IdentityRefused(f"the token cannot be read: {type(error).__name__}", where=str(path)) from error
        if not token:
            raise IdentityRefused("the token's file is empty", where=str(path))
        return token

    return give


def token_from_url(url: str) -> TokenSource:
    """Get the token from a URL."""

    async def give() -> str:
        return (await request_token(TokenRequest(url, "token_url"))).decode(errors="replace").strip()

    return give


def token_from_google(audience: str, env: Mapping[str, str]) -> TokenSource:
    """An ID token of the service account that this machine has, of Google's metadata server (GCE, GKE, Cloud Run).

    https://cloud.google.com/compute/docs/instances/verifying-instance-identity
    """
    url = f"{google_metadata_url(env)}/instance/service-accounts/default/identity?audience={quote(audience, safe='')}&format=full"

    async def give() -> str:
        answer = await request_token(TokenRequest(url, "Google's metadata server", headers=METADATA_FLAVOR, local=True))
        return answer.decode(errors="replace").strip()

    return give


METADATA_FLAVOR = {"Metadata-Flavor": "Google"}


def google_metadata_url(env: Mapping[str, str]) -> str:
    """The root of Google's metadata, GCE_METADATA_HOST if it is set."""
    return f"http://{env.get('GCE_METADATA_HOST') or 'metadata.google.internal'}/computeMetadata/v1"
