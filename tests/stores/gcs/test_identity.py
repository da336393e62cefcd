"""Tokens of Google that end in the middle of a transfer, at a Cloud Storage that lets none through which has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import web
from tests.stores.delayed_proxy import ENDS, LIFE, Door, carry

from skyferry.clouds.credentials import fixed_credentials
from skyferry.clouds.identity.build import IdentityContext, google_token
from skyferry.clouds.identity.refreshing import RefreshingCredentials
from skyferry.config.identity import IdentitySettings
from skyferry.errors import IdentityRefused, InternalError
from skyferry.stores.gcs.client import GcsOptions
from skyferry.stores.gcs.store import GcsStore
from skyferry.testing.clock import ManualClock
from skyferry.testing.identity import ServiceFailure, TokenServices
from skyferry.testing.identity.clouds import ACCOUNT, POOL, PROJECT, PROVIDER
from skyferry.testing.servers.gcs import GcsPlace
from skyferry.testing.servers.gcs_fake import GcsFake, gcs_fake
from skyferry.testing.store_cases.place import BARE, compute_digests

PART = 5 * 2**20


class GoogleDoor(Door):
    """Before our fake of Cloud Storage."""

    def refusal(self) -> web.Response:
        return web.json_response({"error": {"code": 401, "message": "Invalid Credentials"}}, status=401)


@pytest.fixture(scope="module")
def fake() -> Iterator[GcsFake]:
    with gcs_fake() as running:
        yield running


@pytest.fixture
async def door(fake: GcsFake, services: TokenServices) -> AsyncIterator[Door]:
    door = GoogleDoor(fake.url, services.clouds)
    async with door:
        yield door


@pytest.fixture
async def identity(services: TokenServices, own_clock: ManualClock) -> AsyncIterator[RefreshingCredentials[str]]:
    """Our own clock is slow, so that nothing is renewed ahead: each token ends at the worst moment."""
    settings = IdentitySettings(
        kind="federated",
        token="url",
        token_url=f"{services.url}/tokens/google",
        project=PROJECT,
        pool=POOL,
        provider=PROVIDER,
        service_account=ACCOUNT,
        endpoint=services.google,
        iam_endpoint=services.google,
    )
    provider = google_token(settings, IdentityContext("gcs", own_clock, {}))
    yield provider
    await provider.close()


@pytest.fixture
async def store(fake: GcsFake, door: Door, identity: RefreshingCredentials[str]) -> AsyncIterator[GcsStore]:
    bucket = await GcsPlace(GcsOptions(endpoint=fake.url), fixed_credentials("")).bucket()
    store = GcsStore("gcs", bucket, identity, GcsOptions(endpoint=door.url))
    yield store
    await store.close()


async def test_a_transfer_outlives_its_tokens(
    store: GcsStore, door: Door, services: TokenServices, clock: ManualClock, own_clock: ManualClock
) -> None:
    await carry(store, PART, clock, own_clock)
    assert door.refused >= ENDS - 1
    assert services.clouds.calls["google"] <= ENDS + 1, "one renewal for each end, however many requests saw it"


async def test_so_does_a_resumable_upload(
    fake: GcsFake, door: Door, identity: RefreshingCredentials[str], clock: ManualClock, own_clock: ManualClock
) -> None:
    """Each of its requests bears a token, too."""
    bucket = await GcsPlace(GcsOptions(endpoint=fake.url), fixed_credentials("")).bucket()
    store = GcsStore("gcs", bucket, identity, GcsOptions(endpoint=door.url, uploads="resumable"))
    piece, data, parts = bytes(PART), bytes(PART) * 3, []
    upload = await store.start_upload("k", len(data), PART, BARE)
    for number in range(1, 4):
        await clock.advance(LIFE)
        await own_clock.advance(60)
        parts.append(await store.write_part(upload, number, piece, compute_digests(piece).crc32c))
    await clock.advance(LIFE)
    assert (await store.finish_upload(upload, parts, compute_digests(data))).size == len(data)
    assert door.refused >= 4
    await store.close()


async def test_a_hundred_requests_that_meet_the_same_end_cost_one_renewal(
    store: GcsStore, door: Door, services: TokenServices, clock: ManualClock
) -> None:
    await store.write("k", b"data", BARE, compute_digests(b"data"))
    await clock.advance(LIFE)
    before = services.clouds.calls["google"]
    found = await asyncio.gather(*(store.read("k", 0, 10) for _ in range(100)))
    assert {each.data for each in found} == {b"data"}
    assert services.clouds.calls["google"] == before + 1


async def test_an_identity_that_is_revoked_makes_the_work_wait_and_come_back(
    store: GcsStore, services: TokenServices, clock: ManualClock
) -> None:
    await store.write("k", b"data", BARE, compute_digests(b"data"))
    await clock.advance(LIFE)
    services.clouds.failures.append(ServiceFailure("google", 400, '{"error": "invalid_target"}'))
    with pytest.raises(IdentityRefused, match="pool and provider exist") as caught:
        await store.read("k", 0, 10)
    assert caught.value.outage


async def test_another_error_of_the_token_is_raised_unchanged(fake: GcsFake) -> None:
    """Also where two requests at the same time need one."""

    async def token(*, stale: str = "") -> str:
        raise InternalError("a bug")

    store = GcsStore("gcs", "b", token, GcsOptions(endpoint=fake.url))
    with pytest.raises(InternalError):
        await store.read("k", 0, 10)
    await store.close()
