"""Tokens of Entra that end in the middle of a transfer, at an Azurite that nobody gets to whose token has ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import web
from tests.stores_cloud.doors import Door

from skyferry.azure_auth import SharedKey, authorization
from skyferry.config.identity import IdentitySettings
from skyferry.identity.build import Surroundings, azure_token
from skyferry.identity.renewing import Renewing
from skyferry.stores.azure import AzureStore
from skyferry.testing.clock import ManualClock
from skyferry.testing.identity import Clouds, TokenServices, token_services
from skyferry.testing.identity.clouds import CLIENT, ENTRA_AUDIENCE, KUBERNETES, POD, TENANT
from skyferry.testing.servers import Azurite
from skyferry.testing.servers.azure import AzurePlace
from skyferry.testing.store_cases.place import BARE, digests

PART = 2**20
PARTS = 8
LIFE = 3600.0  # seconds, of a token


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
def clock() -> ManualClock:
    """Entra's."""
    return ManualClock(time.time())


@pytest.fixture
def ours() -> ManualClock:
    return ManualClock(time.time())


@pytest.fixture
async def services(clock: ManualClock) -> AsyncIterator[TokenServices]:
    async with token_services(Clouds(clock.time)) as running:
        running.clouds.tokens["pod"] = running.clouds.issuers[KUBERNETES].token(POD, ENTRA_AUDIENCE, life=1e6)
        yield running


@pytest.fixture
async def door(azurite_server: Azurite, services: TokenServices) -> AsyncIterator[Door]:
    door = EntraDoor(azurite_server, services.clouds)
    async with door:
        yield door


@pytest.fixture
async def identity(services: TokenServices, ours: ManualClock) -> AsyncIterator[Renewing[str]]:
    """Our own clock is slow, so that nothing is renewed ahead: each token ends at the worst moment."""
    settings = IdentitySettings(
        kind="federated",
        token="url",
        token_url=f"{services.url}/tokens/pod",
        tenant_id=TENANT,
        client_id=CLIENT,
        endpoint=services.entra,
    )
    provider = azure_token(settings, Surroundings("azure", ours, {}))
    yield provider
    await provider.close()


@pytest.fixture
async def store(azurite_server: Azurite, door: Door, identity: Renewing[str]) -> AsyncIterator[AzureStore]:
    place = AzurePlace.on(azurite_server)
    options = replace(place.options, endpoint=f"{door.url}/{azurite_server.account}")
    store = AzureStore("azure", await place.container(), options, identity)
    yield store
    await store.close()


async def test_a_transfer_outlives_its_tokens(
    store: AzureStore, door: Door, services: TokenServices, clock: ManualClock, ours: ManualClock
) -> None:
    """Each ends while two parts are on their way, one before they are put together, and one before they are looked at."""
    piece, data = bytes(PART), bytes(PART) * PARTS
    crc32c = digests(piece).crc32c
    upload = await store.start_upload("k", len(data), PART, BARE)
    parts = []
    for number in range(1, PARTS + 1, 2):
        await clock.advance(LIFE)
        await ours.advance(60)
        parts += await asyncio.gather(*(store.write_part(upload, n, piece, crc32c) for n in (number, number + 1)))
    await clock.advance(LIFE)
    await store.finish_upload(upload, parts, digests(data))
    await clock.advance(LIFE)
    assert (await store.head("k")).size == len(data)
    ends = PARTS // 2 + 2
    assert door.refused >= ends
    assert services.clouds.calls["entra"] == ends + 1, "one renewal for each end, however many requests saw it"
