"""The identity at Azure: a managed identity or a login by its SDK, or a token of another issuer exchanged at Entra."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skyferry.clouds.identity.exchange import (
    TokenRequest,
    make_refusal,
    parse_json,
    read_lifetime,
    read_member,
    request_token,
)
from skyferry.clouds.identity.extras import require_extra
from skyferry.clouds.identity.policy import accept_long_lived_key
from skyferry.clouds.identity.refreshing import IssuedCredentials, Obtain
from skyferry.clouds.identity.token_sources import TokenSource, token_from_file
from skyferry.errors import ConfigError
from skyferry.frozen import dataclass

ENTRA = "Microsoft Entra"
LOGIN = "https://login.microsoftonline.com"
AUDIENCE = "api://AzureADTokenExchange"  # the audience of tokens that Entra exchanges
STORAGE = "https://storage.azure.com/.default"  # the scope of blobs and queues


@dataclass(frozen=True, slots=True)
class Application:
    """An application, or a managed identity, that has a federated credential."""

    tenant: str
    client: str
    endpoint: str = LOGIN


def exchange_at_entra(application: Application, source: TokenSource, scope: str = STORAGE) -> Obtain[str]:
    """An access token for a token of another issuer, as a federated client assertion. This is workload identity, too.

    https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow, third case
    """

    async def obtain() -> IssuedCredentials[str]:
        token = await source()
        form = {
            "grant_type": "client_credentials",
            "client_id": application.client,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": token,
            "scope": scope,
        }
        url = f"{application.endpoint.rstrip('/')}/{application.tenant}/oauth2/v2.0/token"
        answer = parse_json(await request_token(TokenRequest(url, ENTRA, form=form, secrets=(token,))), ENTRA)
        given = read_member(answer, "access_token", ENTRA)
        return IssuedCredentials(given, given, life=read_lifetime(answer))

    return obtain


def workload_identity(env: Mapping[str, str], endpoint: str = "") -> tuple[Application, TokenSource] | None:
    """Return the application and the token of a pod in AKS (azwi's webhook); None elsewhere."""
    names = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE")
    tenant, client, path = (env.get(name, "") for name in names)
    if not (tenant and client and path):
        return None
    authority = endpoint or env.get("AZURE_AUTHORITY_HOST") or LOGIN
    return Application(tenant, client, authority), token_from_file(Path(path))


def default_credential(env: Mapping[str, str], scope: str = STORAGE) -> Obtain[str]:
    """Get tokens from azure-identity's own chain: environment, managed identity, logins of az, azd and PowerShell.

    The secret or password of an application in the environment is used with a warning.
    """

    async def obtain() -> IssuedCredentials[str]:
        if env.get("AZURE_CLIENT_SECRET") or env.get("AZURE_PASSWORD"):
            accept_long_lived_key("azure", "the secret of the application in the environment", accepted=True)
        with require_extra("azure", "the identity of this machine at Azure"):
            from azure.identity.aio import DefaultAzureCredential
        return await _get_token(DefaultAzureCredential(), scope)

    return obtain


def machine_identity(client_id: str = "", scope: str = STORAGE) -> Obtain[str]:
    """The managed identity of this machine, else a person's login (az, azd), by azure-identity.

    Each call uses a new credential object, for the SDK may cache a token that a service has just called expired.
    """

    async def obtain() -> IssuedCredentials[str]:
        with require_extra("azure", "the identity of this machine at Azure"):
            from azure.identity.aio import (
                AzureCliCredential,
                AzureDeveloperCliCredential,
                ChainedTokenCredential,
                ManagedIdentityCredential,
            )
        managed = ManagedIdentityCredential(client_id=client_id or None)
        chain = ChainedTokenCredential(managed, AzureCliCredential(), AzureDeveloperCliCredential())
        return await _get_token(chain, scope)

    return obtain


async def _get_token(credential: Any, scope: str) -> IssuedCredentials[str]:
    """Get a token from a credential object of azure-identity, and close the object."""
    from azure.core.exceptions import AzureError

    try:
        async with credential:
            found = await asyncio.wait_for(credential.get_token(scope), 30)
    except (AzureError, ValueError, TimeoutError) as error:
        hint = (
            "Give the machine a managed identity, or set identity: {kind: federated, ...}: see docs/how-to/identity.md"
        )
        raise make_refusal(str(error) or type(error).__name__, ENTRA, hint=hint) from None
    return IssuedCredentials(found.token, found.token, float(found.expires_on))


def token_from_azure(audience: str, env: Mapping[str, str], client_id: str = "") -> TokenSource:
    """A token of Entra for this machine's identity, for another cloud. `audience` is the URI of an application there."""
    scope = audience if audience.endswith("/.default") else f"{audience}/.default"
    found = workload_identity(env)
    obtain = (
        exchange_at_entra(*found, scope)
        if found
        else machine_identity(client_id or env.get("AZURE_CLIENT_ID", ""), scope)
    )

    async def give() -> str:
        return (await obtain()).value

    return give


def federated_application(tenant: str, client: str, env: Mapping[str, str], endpoint: str = "") -> Application:
    """Return the application of the settings, otherwise of the environment. Raises ConfigError if both are incomplete."""
    tenant, client = tenant or env.get("AZURE_TENANT_ID", ""), client or env.get("AZURE_CLIENT_ID", "")
    if not (tenant and client):
        raise ConfigError("a federated identity at Azure needs identity.tenant_id and identity.client_id")
    return Application(tenant, client, endpoint or env.get("AZURE_AUTHORITY_HOST") or LOGIN)
