"""Credentials that end in the middle of a transfer to S3: renewed once, and the transfer goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from skyferry.clock import SystemClock
from skyferry.clouds.credentials import S3Credentials
from skyferry.clouds.identity.build import IdentityContext, aws_credentials
from skyferry.clouds.identity.refreshing import RefreshingCredentials
from skyferry.config.identity import IdentitySettings
from skyferry.errors import IdentityRefused, PermissionDenied
from skyferry.stores.s3.store import S3Store
from skyferry.testing.clock import ManualClock
from skyferry.testing.identity import ServiceFailure, TokenServices
from skyferry.testing.identity.clouds import ROLE
from skyferry.testing.servers.proxy import Fault, FaultProxy
from skyferry.testing.servers.s3 import S3Place
from skyferry.testing.store_cases.place import BARE, compute_digests

EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
PART = 5 * 2**20
PARTS = 4


@pytest.fixture
async def identity(services: TokenServices) -> AsyncIterator[RefreshingCredentials[S3Credentials]]:
    """A role at AWS, assumed from Google."""
    settings = IdentitySettings(kind="federated", token="google", role_arn=ROLE, endpoint=services.aws)
    around = IdentityContext("s3", SystemClock(), {"GCE_METADATA_HOST": services.host})
    provider = aws_credentials(settings, around)
    yield provider
    await provider.close()


@pytest.fixture
async def proxy(localstack_s3: S3Place) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(localstack_s3.options.endpoint) as running:
        yield running


@pytest.fixture
async def store(
    localstack_s3: S3Place, proxy: FaultProxy, identity: RefreshingCredentials[S3Credentials]
) -> AsyncIterator[S3Store]:
    options = replace(localstack_s3.options, endpoint=proxy.url)
    store = S3Store("s3", await localstack_s3.bucket(), identity, options)
    yield store
    await store.close()


async def test_one_renewal_serves_all_parts_in_flight_with_an_expired_token(
    store: S3Store, proxy: FaultProxy, services: TokenServices
) -> None:
    data = bytes(PART) * PARTS
    upload = await store.start_upload("k", len(data), PART, BARE)
    proxy.plan(*(Fault(method="PUT", target="partNumber", status=400, body=EXPIRED) for _ in range(PARTS)))
    body = bytes(PART)
    parts = await asyncio.gather(
        *(store.write_part(upload, number + 1, body, compute_digests(body).crc32c) for number in range(PARTS))
    )
    proxy.plan(Fault(method="POST", target="uploadId", status=400, body=EXPIRED))  # and at the worst moment
    await store.finish_upload(upload, parts, compute_digests(data))
    assert proxy.pending == 0
    assert (await store.head("k")).size == len(data)
    assert services.clouds.calls["aws"] == 3  # the first, one for all parts, one for the end


async def test_a_read_and_a_look_that_meet_the_expiry_go_on(
    store: S3Store, proxy: FaultProxy, services: TokenServices
) -> None:
    await store.write("k", b"data", BARE, compute_digests(b"data"))
    proxy.plan(Fault(status=403, body=EXPIRED))
    assert (await store.read("k", 0, 10)).data == b"data"
    proxy.plan(Fault(method="HEAD", status=400), Fault(method="GET", status=400, body=EXPIRED))
    assert (await store.head("k")).size == 4
    assert services.clouds.calls["aws"] == 3


async def test_a_credential_that_is_refused_again_makes_the_work_wait_and_is_not_asked_for_for_ever(
    store: S3Store, proxy: FaultProxy, services: TokenServices
) -> None:
    proxy.plan(*(Fault(status=400, body=EXPIRED) for _ in range(2)))
    with pytest.raises(IdentityRefused, match="renew the credentials"):
        await store.read("k", 0, 10)
    assert services.clouds.calls["aws"] == 2


async def test_a_renewal_that_fails_makes_the_work_wait(
    store: S3Store, proxy: FaultProxy, services: TokenServices
) -> None:
    await store.write("k", b"data", BARE, compute_digests(b"data"))
    proxy.plan(Fault(status=400, body=EXPIRED))
    services.clouds.failures.append(ServiceFailure("aws", 403, "<Code>AccessDenied</Code>"))
    with pytest.raises(IdentityRefused, match="AccessDenied") as caught:
        await store.read("k", 0, 10)
    assert caught.value.outage


async def test_a_denied_request_renews_no_token(store: S3Store, proxy: FaultProxy, services: TokenServices) -> None:
    proxy.plan(*(Fault(status=403, body=b"<Error><Code>AccessDenied</Code></Error>") for _ in range(3)))
    with pytest.raises(PermissionDenied):
        await store.read("k", 0, 10)
    with pytest.raises(PermissionDenied):
        await store.head("k")
    assert services.clouds.calls["aws"] == 1


async def test_a_key_that_was_rotated_in_its_file_is_read_again(radosgw_s3: S3Place, tmp_path: Path) -> None:
    """Until then the service's own words are told, and nobody asks for the key with every request."""
    key, secret, clock = tmp_path / "key", tmp_path / "secret", ManualClock()
    key.write_text("nobody")
    secret.write_text(radosgw_s3.secret_key)
    settings = IdentitySettings(kind="static", key_file=key, secret_file=secret)
    provider = aws_credentials(settings, IdentityContext("s3", clock, {}))
    store = S3Store("s3", await radosgw_s3.bucket(), provider, radosgw_s3.options)
    for _ in range(2):
        with pytest.raises(IdentityRefused, match="does not exist here"):
            await store.write("k", b"data", BARE, compute_digests(b"data"))
    key.write_text(radosgw_s3.access_key)
    await clock.advance(60)
    await store.write("k", b"data", BARE, compute_digests(b"data"))
    assert (await store.head("k")).size == 4
    await store.close()
    await provider.close()
