"""Tokens of Entra that end in the middle of a transfer, at an Azurite that nobody gets to whose token has ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import web
from tests.stores.delayed_proxy import ENDS, Door, carry

from skyferry.clouds.azure import SharedKey, authorization
from skyferry.clouds.identity.build import IdentityContext, azure_token
from skyferry.clouds.identity.refreshing import RefreshingCredentials
from skyferry.config.identity import IdentitySettings
from skyferry.stores.azure.store import AzureStore
from skyferry.testing.clock import ManualClock
from skyferry.testing.identity import Clouds, TokenServices
from skyferry.testing.identity.clouds import CLIENT, TENANT
from skyferry.testing.servers import Azurite
from skyferry.testing.servers.azure import AzurePlace

PART = 2**20


class EntraDoor(Door):
    """Before Azurite, which knows no Entra without TLS: who comes in is signed for."""

    def __init__(self, server: Azurite, clouds: Clouds) -> None:
        self.root, self.key = server.blob_url.rpartition("/")[0], SharedKey(server.account, server.key)
        super().__init__(self.root, clouds)

    def refusal(self) -> web.Response:
        return web.Response(status=401, headers={"x-ms-error-code": "InvalidAuthenticationInfo"})

    def _passed(self, request: web.BaseRequest) -> dict[str, str]:
        headers = {name.lower(): value for name, value in super()._passed(request).items()}
        url = f"{self.root}{request.raw_path.partition('?')[0]}"
        return headers | authorization(self.key, request.method, url, headers, request.query)


@pytest.fixture
async def door(azurite_server: Azurite, services: TokenServices) -> AsyncIterator[Door]:
    door = EntraDoor(azurite_server, services.clouds)
    async with door:
        yield door


@pytest.fixture
async def identity(services: TokenServices, own_clock: ManualClock) -> AsyncIterator[RefreshingCredentials[str]]:
    """Our own clock is slow, so that nothing is renewed ahead: each token ends at the worst moment."""
    settings = IdentitySettings(
        kind="federated",
        token="url",
        token_url=f"{services.url}/tokens/entra",
        tenant_id=TENANT,
        client_id=CLIENT,
        endpoint=services.entra,
    )
    provider = azure_token(settings, IdentityContext("azure", own_clock, {}))
    yield provider
    await provider.close()


@pytest.fixture
async def store(azurite_server: Azurite, door: Door, identity: RefreshingCredentials[str]) -> AsyncIterator[AzureStore]:
    place = AzurePlace.on(azurite_server)
    options = replace(place.options, endpoint=f"{door.url}/{azurite_server.account}")
    store = AzureStore("azure", await place.container(), options, identity)
    yield store
    await store.close()


async def test_a_transfer_outlives_its_tokens(
    store: AzureStore, door: Door, services: TokenServices, clock: ManualClock, own_clock: ManualClock
) -> None:
    await carry(store, PART, clock, own_clock)
    assert door.refused >= ENDS
    assert services.clouds.calls["entra"] == ENDS + 1, "one renewal for each end, however many requests saw it"
