"""The requests that a look at one object costs, where the service returns no checksums (`other`) and where it does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from skyferry.errors import BucketNotFound, ObjectNotFound, Unsupported
from skyferry.model import Attributes, Checksums
from skyferry.stores.s3.store import S3Store
from skyferry.testing.servers.proxy import Fault, FaultProxy
from skyferry.testing.servers.s3 import S3Place

ARCHIVED = b"<Error><Code>InvalidObjectState</Code><Message>It is archived.</Message></Error>"


@pytest.fixture
async def proxy(localstack_s3: S3Place) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(localstack_s3.options.endpoint) as running:
        yield running


@pytest.fixture
async def store(localstack_s3: S3Place, proxy: FaultProxy) -> AsyncIterator[S3Store]:
    options = replace(localstack_s3.options, endpoint=proxy.url, service="other")
    store = S3Store("s3", await localstack_s3.bucket(), localstack_s3.credentials, options)
    yield store
    await store.close()


def _methods(proxy: FaultProxy) -> list[str]:
    return [exchange.method for exchange in proxy.exchanges]


async def test_an_absent_object_costs_one_request(store: S3Store, proxy: FaultProxy) -> None:
    with pytest.raises(ObjectNotFound):
        await store.head("absent")
    assert _methods(proxy) == ["GET"]


async def test_an_object_costs_one_request_and_an_empty_one_two(store: S3Store, proxy: FaultProxy) -> None:
    for key, data in (("some", b"some"), ("none", b"")):
        await store.write(key, data, Attributes(content_type="text/plain"), Checksums())
    proxy.exchanges.clear()
    some, none = await store.head("some"), await store.head("none")
    assert (some.size, none.size) == (4, 0)
    assert some.attributes.content_type == none.attributes.content_type == "text/plain"
    assert _methods(proxy) == ["GET", "GET", "HEAD"]


async def test_an_archived_object_is_looked_at_without_its_bytes(store: S3Store, proxy: FaultProxy) -> None:
    await store.write("k", b"some", Attributes(), Checksums())
    proxy.plan(*[Fault(method="GET", status=403, body=ARCHIVED)] * 2)
    with pytest.raises(Unsupported):  # a read needs them
        await store.read("k", 0, 4)
    assert (await store.head("k")).size == 4


async def test_an_object_whose_bytes_are_lost_can_be_looked_at_and_so_be_replaced(
    store: S3Store, proxy: FaultProxy
) -> None:
    await store.write("k", b"some", Attributes(), Checksums())
    proxy.plan(Fault(method="GET", cut=0))
    assert (await store.head("k")).size == 4


async def test_a_missing_bucket_is_no_missing_object(localstack_s3: S3Place) -> None:
    """A missing destination must not look empty, and a missing source must not look like deletes."""
    for service in ("other", "localstack"):
        options = replace(localstack_s3.options, service=service)
        store = S3Store("s3", "no-such-bucket", localstack_s3.credentials, options)
        with pytest.raises(BucketNotFound):
            await store.head("k")
        await store.close()
