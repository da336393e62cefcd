"""Containers and stores on an Azurite of tests."""

from __future__ import annotations

import secrets
from dataclasses import field, replace

from skyferry.clouds.azure import AzureProvider, SharedKey
from skyferry.clouds.credentials import fixed_credentials
from skyferry.frozen import dataclass
from skyferry.stores.azure.client import AzureClient, AzureOptions
from skyferry.stores.azure.store import AzureStore
from skyferry.testing.servers.azurite import Azurite


@dataclass(frozen=True, slots=True)
class AzurePlace:
    """The account in which Azure tests may create containers."""

    options: AzureOptions
    credential: AzureProvider = field(repr=False)

    @classmethod
    def on(cls, server: Azurite) -> AzurePlace:
        """Its one account."""
        return cls(AzureOptions(server.blob_url), fixed_credentials(SharedKey(server.account, server.key)))

    async def container(self) -> str:
        """A new one."""
        name = f"container-{secrets.token_hex(6)}"
        client = AzureClient("admin", name, self.credential, self.options)
        await client.send("PUT", query={"restype": "container"})
        await client.close()
        return name

    def store(self, container: str, endpoint: str = "") -> AzureStore:
        """On that container, maybe by way of a proxy. The caller closes it."""
        options = replace(self.options, endpoint=endpoint) if endpoint else self.options
        return AzureStore("azure", container, options, self.credential)
