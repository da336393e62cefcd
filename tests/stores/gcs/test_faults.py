"""Cloud Storage behind a proxy that breaks what it carries: wrong bytes never pass, and nothing hangs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from skyferry.errors import (
    ChecksumMismatch,
    ConnectionLost,
    ObjectNotFound,
    PermissionDenied,
    SkyferryError,
    StoreError,
    StoreTimeout,
    Throttled,
)
from skyferry.model import Attributes, Part, Upload
from skyferry.ports import ANY, Precondition
from skyferry.stores.gcs.store import GcsStore
from skyferry.testing.servers.gcs import GcsPlace
from skyferry.testing.servers.proxy import Fault, FaultProxy
from skyferry.testing.store_cases.place import compute_digests

DATA = bytes(range(256)) * 20
LARGE = bytes(3 * 2**20)  # more than is sent at once
ERROR = b'{"error": {"code": 503, "message": "Backend Error", "errors": [{"reason": "backendError"}]}}'


@dataclass(frozen=True, slots=True)
class Broken:
    """A store behind a proxy."""

    store: GcsStore
    proxy: FaultProxy

    async def write(self, data: bytes = DATA, when: Precondition = ANY) -> None:
        await self.store.write("k", data, Attributes(), compute_digests(data), when)

    async def upload(self, data: bytes) -> tuple[Upload, list[Part]]:
        upload = await self.store.start_upload("k", len(data), 2**20, Attributes())
        return upload, [await self.store.write_part(upload, 1, data, compute_digests(data).crc32c)]


@pytest.fixture
async def broken(gcs: GcsPlace) -> AsyncIterator[Broken]:
    bucket = await gcs.bucket()
    async with FaultProxy(gcs.options.endpoint) as proxy:
        impatient = replace(gcs, options=replace(gcs.options, endpoint=proxy.url, read_timeout=2.0))
        store = impatient.store(bucket)
        yield Broken(store, proxy)
        await store.close()
        assert proxy.pending == 0, "a fault that was planned did not happen"


@pytest.mark.parametrize("data", [DATA, LARGE])
async def test_a_bit_that_flips_on_the_way_is_refused_by_the_server(broken: Broken, data: bytes) -> None:
    broken.proxy.plan(Fault("POST", flip_request=len(data) // 2 + 1000))
    with pytest.raises(ChecksumMismatch):
        await broken.write(data)
    with pytest.raises(ObjectNotFound):
        await broken.store.head("k")


async def test_a_bit_that_flips_in_a_part_is_refused_by_the_server(broken: Broken) -> None:
    upload, _ = await broken.upload(DATA)
    broken.proxy.plan(Fault("POST", "upload", flip_request=len(DATA) // 2))
    with pytest.raises(ChecksumMismatch):
        await broken.store.write_part(upload, 1, DATA, compute_digests(DATA).crc32c)
    with pytest.raises(ObjectNotFound):
        await broken.store.head("k")


async def test_a_bit_that_flips_on_the_way_here_contradicts_what_the_store_declares(broken: Broken) -> None:
    await broken.write()
    broken.proxy.plan(Fault("GET", "alt=media", flip=1000))
    got = await broken.store.read("k", 0, len(DATA))
    assert got.meta.checksums.find_conflict(compute_digests(got.data)) == "crc32c"


@pytest.mark.parametrize("data", [DATA, LARGE])
@pytest.mark.parametrize("cut", [0, 1000])
async def test_an_answer_that_breaks_off_is_an_error(broken: Broken, data: bytes, cut: int) -> None:
    await broken.write(data)
    broken.proxy.plan(Fault("GET", "alt=media", cut=cut))
    with pytest.raises(ConnectionLost):
        await broken.store.read("k", 0, len(data))


async def test_an_answer_that_stalls_is_an_error(broken: Broken) -> None:
    await broken.write()
    broken.proxy.plan(Fault("GET", "alt=media", stall=1000))
    with pytest.raises(StoreTimeout):
        await broken.store.read("k", 0, len(DATA))


async def test_a_connection_that_ends_in_the_middle_of_a_body_leaves_nothing(broken: Broken) -> None:
    broken.proxy.plan(Fault("POST", drop_request=len(LARGE) // 2))
    with pytest.raises(ConnectionLost):
        await broken.write(LARGE)
    with pytest.raises(ObjectNotFound):
        await broken.store.head("k")


@pytest.mark.parametrize(
    ("status", "error", "body"),
    [
        (503, Throttled, ERROR),
        (503, Throttled, b"<html>not JSON</html>"),
        (429, Throttled, b""),
        (403, PermissionDenied, b""),
    ],
)
async def test_a_refusal_is_reported_with_its_hint(
    broken: Broken, status: int, error: type[SkyferryError], body: bytes
) -> None:
    broken.proxy.plan(Fault("POST", status=status, headers={"retry-after": "7"}, body=body))
    with pytest.raises(error) as refused:
        await broken.write()
    assert refused.value.retry_after == (7.0 if status != 403 else refused.value.retry_after)


@pytest.mark.parametrize("body", [b"", b"{}", b"not JSON", ERROR])
async def test_200_with_something_else_on_completion_is_not_taken_for_done(broken: Broken, body: bytes) -> None:
    upload, parts = await broken.upload(DATA)
    broken.proxy.plan(Fault("POST", "compose", status=200, body=body))
    with pytest.raises(SkyferryError):
        await broken.store.finish_upload(upload, parts, compute_digests(DATA))


@pytest.mark.parametrize("page", [b"{}", b"[]", b'{"kind": "storage#buckets"}'])
async def test_another_document_is_no_empty_listing(broken: Broken, page: bytes) -> None:
    broken.proxy.plan(Fault("GET", status=200, body=page))
    with pytest.raises(StoreError, match="no listing"):
        assert [meta.key async for meta in broken.store.list()] == []


async def test_a_listing_that_begins_again_is_an_error(broken: Broken) -> None:
    page = b'{"kind": "storage#objects", "nextPageToken": "t"}'
    for _ in range(2):
        broken.proxy.plan(Fault("GET", status=200, body=page))
    with pytest.raises(StoreError, match="repeats a page"):
        assert [meta.key async for meta in broken.store.list()] == []


@pytest.mark.parametrize(
    ("item", "said"), [(b'{"name": "q/b"}', "does not begin with 'p/'"), (b"{}", "be read"), (b"7", "be read")]
)
async def test_an_object_that_was_not_asked_for_ends_the_listing(broken: Broken, item: bytes, said: str) -> None:
    """Taken without the prefix, its name would be another key, which `copy --delete` would delete."""
    broken.proxy.plan(Fault("GET", status=200, body=b'{"kind": "storage#objects", "items": [%s]}' % item))
    with pytest.raises(StoreError, match=said):
        assert [meta.key async for meta in broken.store.list("p/")] == []
