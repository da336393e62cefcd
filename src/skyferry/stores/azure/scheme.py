"""The URL scheme of Azure Blob Storage."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from skyferry.clouds.accounts import azure_account
from skyferry.config.schemes import AT_A_CLOUD, StoreProfile, StoreScheme
from skyferry.config.settings import StoreSettings
from skyferry.model import Provider

if TYPE_CHECKING:
    from skyferry.ports import ObjectStore
    from skyferry.ports.opening import StoreContext


def _complete(settings: StoreSettings, account: str) -> StoreSettings:
    if settings.endpoint:
        return settings
    if not account:
        raise ValueError("az://CONTAINER needs the account: az://ACCOUNT/CONTAINER, or an endpoint")
    return settings.model_copy(update={"endpoint": f"https://{account}.blob.core.windows.net"})


def _profile(settings: StoreSettings) -> StoreProfile:
    return StoreProfile(
        Provider.AZURE_BLOB,
        account=azure_account(settings.endpoint),
        tags=not settings.hierarchical,
        queues=frozenset({"azq"}),
        push=frozenset({"eventgrid"}),
    )


def _open(context: StoreContext) -> ObjectStore:
    from skyferry.stores.azure.client import AzureOptions
    from skyferry.stores.azure.store import AzureStore

    settings = context.where.settings
    options = AzureOptions(
        endpoint=settings.endpoint,
        encryption_scope=settings.encryption_scope,
        hierarchical=settings.hierarchical,
        connections=context.connections,
    )
    options = replace(options, read_timeout=min(context.read_timeout, options.read_timeout))
    return AzureStore(context.name, context.where.url.bucket, options, context.credentials)


AZURE = StoreScheme(
    "az://ACCOUNT/CONTAINER",
    _open,
    options=frozenset({"endpoint", "identity", "region"}),
    settings=AT_A_CLOUD | {"encryption_scope", "hierarchical", "region"},
    parts=2,
    cloud="azure",
    extra="azure",
    needs=("aiohttp", "azure.identity"),
    providers=(Provider.AZURE_BLOB,),
    complete=_complete,
    profile=_profile,
)
