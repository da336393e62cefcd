"""Azure behind a proxy that breaks what it carries: wrong bytes never pass, and nothing hangs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
from tests.stores.scripted_server import serve_script, write_answer

from skyferry.clouds.credentials import fixed_credentials
from skyferry.errors import (
    BucketNotFound,
    ChecksumMismatch,
    ConnectionLost,
    ObjectNotFound,
    PermissionDenied,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
    Throttled,
)
from skyferry.model import Attributes, Checksums, Part, Upload
from skyferry.ports import ANY, Precondition
from skyferry.stores.azure.client import AzureOptions
from skyferry.stores.azure.store import AzureStore
from skyferry.testing.servers import Azurite
from skyferry.testing.servers.azure import AzurePlace
from skyferry.testing.servers.proxy import Fault, FaultProxy
from skyferry.testing.store_cases.place import compute_digests

DATA = bytes(range(256)) * 20
LARGE = bytes(3 * 2**20)  # more than is sent at once
PART = 2**20
ERROR = b"<Error><Code>InternalError</Code><Message>Server encountered an internal error.</Message></Error>"
MARKED = Attributes(metadata={"skyferry-transfer": "1"})


@dataclass(frozen=True, slots=True)
class Broken:
    """A store behind a proxy."""

    store: AzureStore
    proxy: FaultProxy

    async def write(self, data: bytes = DATA, when: Precondition = ANY, *, md5: bool = False) -> None:
        known = compute_digests(data) if md5 else Checksums(crc32c=compute_digests(data).crc32c)
        await self.store.write("k", data, MARKED, known, when)

    async def upload(self, data: bytes) -> tuple[Upload, list[Part]]:
        upload = await self.store.start_upload("k", len(data), PART, MARKED)
        return upload, [await self.store.write_part(upload, 1, data, compute_digests(data).crc32c)]


@pytest.fixture
async def broken(azurite_server: Azurite) -> AsyncIterator[Broken]:
    root, _, account = azurite_server.blob_url.rpartition("/")
    place = AzurePlace.on(azurite_server)
    container = await place.container()
    async with FaultProxy(root) as proxy:
        impatient = replace(place, options=replace(place.options, read_timeout=2.0))
        store = impatient.store(container, f"{proxy.url}/{account}")
        yield Broken(store, proxy)
        await store.close()
        assert proxy.pending == 0, "a fault that was planned did not happen"


async def test_what_each_operation_costs_in_requests(broken: Broken) -> None:
    async def count(*methods: str) -> None:
        assert [exchange.method for exchange in broken.proxy.exchanges] == list(methods)
        broken.proxy.exchanges.clear()

    await broken.write()
    await count("PUT")
    version = (await broken.store.read("k", 0, len(DATA))).meta.version
    await count("GET")
    await broken.store.read("k", 10, 10, version=version)
    await count("GET")
    upload, parts = await broken.upload(DATA)
    await broken.store.finish_upload(upload, parts, compute_digests(DATA))
    await count("PUT", "PUT", "PUT", "HEAD")
    await broken.store.write("k", DATA, Attributes(tags={"a": "b"}), compute_digests(DATA))
    await broken.store.read("k", 0, len(DATA))
    await count("PUT", "GET", "GET")
    await broken.write(b"")
    await broken.store.read("k", 0, 10)  # to an empty blob, no range is right
    await count("PUT", "GET", "HEAD")


@pytest.mark.parametrize("data", [DATA, LARGE])
@pytest.mark.parametrize("md5", [False, True])
async def test_a_bit_that_flips_on_the_way_is_refused_by_the_server(broken: Broken, data: bytes, md5: bool) -> None:
    broken.proxy.plan(Fault("PUT", flip_request=1000))
    with pytest.raises(ChecksumMismatch):
        await broken.write(data, md5=md5)
    with pytest.raises(ObjectNotFound):
        await broken.store.head("k")


async def test_a_bit_that_flips_in_a_part_is_refused_by_the_server(broken: Broken) -> None:
    upload, _ = await broken.upload(DATA)
    broken.proxy.plan(Fault("PUT", "comp=block", flip_request=1000))
    with pytest.raises(ChecksumMismatch):
        await broken.store.write_part(upload, 1, DATA, compute_digests(DATA).crc32c)


@pytest.mark.parametrize("said", [{}, {"x-ms-content-crc64": "AAAAAAAAAAA="}])
async def test_a_part_without_a_checksum_of_the_store_is_not_proven(broken: Broken, said: dict[str, str]) -> None:
    upload, _ = await broken.upload(DATA)
    broken.proxy.plan(Fault("PUT", "comp=block", status=201, headers=said, forward=True))
    with pytest.raises(ChecksumMismatch, match="attests other bytes"):
        await broken.store.write_part(upload, 1, DATA, compute_digests(DATA).crc32c)


async def test_a_bit_that_flips_on_the_way_here_contradicts_what_the_store_declares(broken: Broken) -> None:
    await broken.write()
    broken.proxy.plan(Fault("GET", flip=1000))
    got = await broken.store.read("k", 0, len(DATA))
    assert got.meta.checksums.find_conflict(compute_digests(got.data)) == "md5"


@pytest.mark.parametrize("data", [DATA, LARGE])
@pytest.mark.parametrize("cut", [0, 1000])
async def test_an_answer_that_breaks_off_is_an_error(broken: Broken, data: bytes, cut: int) -> None:
    await broken.write(data)
    broken.proxy.plan(Fault("GET", cut=cut))
    with pytest.raises(ConnectionLost):
        await broken.store.read("k", 0, len(data))


async def test_an_answer_that_stalls_is_an_error(broken: Broken) -> None:
    await broken.write()
    broken.proxy.plan(Fault("GET", stall=1000))
    with pytest.raises(StoreTimeout):
        await broken.store.read("k", 0, len(DATA))


async def test_an_answer_that_is_shorter_than_it_says_is_an_error(broken: Broken) -> None:
    short = {"content-range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}"}
    broken.proxy.plan(Fault("GET", status=206, headers=short, body=DATA[:-1]))
    with pytest.raises(ConnectionLost):
        await broken.store.read("k", 0, len(DATA))


async def test_an_answer_that_is_longer_than_asked_for_is_not_read(broken: Broken) -> None:
    broken.proxy.plan(Fault("GET", status=200, body=LARGE))
    with pytest.raises(StoreError, match="3145728 bytes where 10 were asked for"):
        await broken.store.read("k", 0, 10)


async def test_a_connection_that_breaks_while_we_send_is_an_error(broken: Broken) -> None:
    broken.proxy.plan(Fault("PUT", drop_request=len(LARGE) // 2))
    with pytest.raises(ConnectionLost):
        await broken.write(LARGE)
    with pytest.raises(ObjectNotFound):
        await broken.store.head("k")


async def test_a_server_that_asks_for_patience_gets_it(broken: Broken) -> None:
    busy = {"retry-after": "7", "x-ms-error-code": "ServerBusy"}
    broken.proxy.plan(Fault("PUT", status=503, headers=busy), Fault("HEAD", status=503, headers=busy))
    for ask in (broken.write(), broken.store.head("k")):
        with pytest.raises(Throttled) as throttled:
            await ask
        assert throttled.value.retry_after == 7.0


async def test_a_refusal_that_comes_before_the_body_has_gone_is_understood(broken: Broken) -> None:
    denied = {"x-ms-error-code": "AuthorizationPermissionMismatch", "connection": "close"}
    broken.proxy.plan(Fault("PUT", status=403, headers=denied, early=True))
    with pytest.raises(PermissionDenied, match="Storage Blob Data Contributor"):
        await broken.write(bytes(32 * 2**20))


async def test_a_page_of_another_server_is_no_absent_blob(broken: Broken) -> None:
    for page in (b"<html>not found</html>", b"not found", b"<"):
        broken.proxy.plan(Fault("GET", status=404, body=page))
        with pytest.raises(BucketNotFound):
            await broken.store.read("k", 0, 1)


async def test_a_commit_that_fails_leaves_the_upload(broken: Broken) -> None:
    upload, parts = await broken.upload(DATA)
    broken.proxy.plan(Fault("PUT", "comp=blocklist", status=500, body=ERROR))
    with pytest.raises(StoreUnavailable):
        await broken.store.finish_upload(upload, parts, compute_digests(DATA))
    with pytest.raises(ObjectNotFound):
        await broken.store.head("k")
    assert (await broken.store.finish_upload(upload, parts, compute_digests(DATA))).size == len(DATA)


async def test_a_bit_that_flips_in_a_commit_is_no_other_blob(broken: Broken) -> None:
    upload, parts = await broken.upload(DATA)
    for offset in (70, 100):  # of the block's id
        broken.proxy.plan(Fault("PUT", "comp=blocklist", flip_request=offset))
        with pytest.raises(StoreError):
            await broken.store.finish_upload(upload, parts, compute_digests(DATA))
    assert (await broken.store.finish_upload(upload, parts, compute_digests(DATA))).size == len(DATA)


@pytest.mark.parametrize("when", [ANY, Precondition(create_only=True)])
async def test_a_commit_whose_answer_is_lost_is_found_to_be_done(broken: Broken, when: Precondition) -> None:
    upload, parts = await broken.upload(DATA)
    broken.proxy.plan(Fault("PUT", "comp=blocklist", status=500, body=ERROR, forward=True))
    with pytest.raises(StoreUnavailable):
        await broken.store.finish_upload(upload, parts, compute_digests(DATA), when)
    made = await broken.store.finish_upload(upload, parts, compute_digests(DATA), when)
    assert made.version == (await broken.store.head("k")).version
    assert (made.attributes, made.checksums) == (MARKED, Checksums(crc32c=compute_digests(DATA).crc32c))


async def test_a_blob_of_another_size_is_not_taken_for_proven(broken: Broken) -> None:
    upload, parts = await broken.upload(DATA)
    broken.proxy.plan(Fault("HEAD", status=200, headers={"content-length": "7"}))
    made = await broken.store.finish_upload(upload, parts, compute_digests(DATA))
    assert (made.size, made.checksums) == (7, Checksums())


async def test_a_commit_that_is_replaced_at_once_was_made(broken: Broken) -> None:
    upload, parts = await broken.upload(DATA)
    broken.proxy.plan(Fault("HEAD", status=412, headers={"x-ms-error-code": "ConditionNotMet"}))
    assert (await broken.store.finish_upload(upload, parts, compute_digests(DATA))).size == len(DATA)


@pytest.mark.parametrize(
    ("name", "when", "said"),
    [("q/b", "Mon, 30 Nov 2026 09:00:00 GMT", "does not begin with 'p/'"), ("p/b", "yesterday", "cannot be read")],
)
async def test_an_object_that_was_not_asked_for_ends_the_listing(
    broken: Broken, name: str, when: str, said: str
) -> None:
    """Taken without the prefix, its name would be another key, which `copy --delete` would delete."""
    blob = f"<Blob><Name>{name}</Name><Properties><Last-Modified>{when}</Last-Modified></Properties></Blob>"
    page = f"<EnumerationResults><Blobs>{blob}</Blobs><NextMarker/></EnumerationResults>"
    broken.proxy.plan(Fault("GET", status=200, body=page.encode()))
    with pytest.raises(StoreError, match=said):
        assert [meta.key async for meta in broken.store.list("p/")] == []


async def test_an_answer_to_a_head_without_a_length_is_no_empty_blob() -> None:
    """A proxy that compresses removes it. No emulator does: this server is a script."""
    async with serve_script(lambda *_: write_answer(200, length=None, etag='"1"')) as (url, _):
        store = AzureStore("azure", "container", AzureOptions(f"{url}/account"), fixed_credentials(""))
        with pytest.raises(StoreError, match="how large"):
            await store.head("k")
        await store.close()
