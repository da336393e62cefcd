"""S3 behind a proxy that breaks what it carries: wrong bytes never pass, and nothing hangs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
from awscrt import checksums as crt

from skyferry.clouds.credentials import fixed_credentials
from skyferry.errors import (
    BucketNotFound,
    ChecksumMismatch,
    ConnectionLost,
    Disposition,
    ObjectNotFound,
    PermissionDenied,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
    Throttled,
    Unsupported,
    UploadGone,
)
from skyferry.model import Attributes, Checksums
from skyferry.ports import ANY, Part, Precondition, Upload
from skyferry.stores.s3 import client as s3_wire
from skyferry.stores.s3.services import COMPOSITE, FULL_OBJECT, SERVICES
from skyferry.stores.s3.store import S3Store
from skyferry.testing.servers.proxy import Fault, FaultProxy
from skyferry.testing.servers.s3 import S3Place

DATA = bytes(range(256)) * 20
LARGE = bytes(3 * 2**20)  # more than is sent at once
PART = 5 * 2**20
ERROR = b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"
ONE = "<ETag>1-1</ETag>"
MARKED = Attributes(metadata={"skyferry-transfer": "1"})


def crc(data: bytes) -> Checksums:
    return Checksums(crc32c=f"{crt.crc32c(data):08x}")


@dataclass(frozen=True, slots=True)
class Broken:
    """A store behind a proxy."""

    store: S3Store
    proxy: FaultProxy
    place: S3Place
    bucket: str

    async def write(self, data: bytes = DATA, when: Precondition = ANY) -> None:
        await self.store.write("k", data, MARKED, crc(data), when)

    async def upload(self, data: bytes) -> tuple[Upload, list[Part]]:
        upload = await self.store.start_upload("k", len(data), PART, MARKED)
        return upload, [await self.store.write_part(upload, 1, data, crc(data).crc32c)]


@pytest.fixture
async def broken(localstack_s3: S3Place) -> AsyncIterator[Broken]:
    async with FaultProxy(localstack_s3.options.endpoint) as proxy:
        impatient = replace(localstack_s3, options=replace(localstack_s3.options, read_timeout=2.0))
        bucket = await localstack_s3.bucket()
        store = impatient.store(bucket, proxy.url)
        yield Broken(store, proxy, impatient, bucket)
        await store.close()
        assert proxy.pending == 0, "a fault that was planned did not happen"


async def test_the_proxy_forwards_requests_without_a_planned_fault(broken: Broken) -> None:
    await broken.write(LARGE)
    assert (await broken.store.read("k", 0, len(LARGE))).data == LARGE
    assert [(x.method, x.received, x.status) for x in broken.proxy.exchanges] == [
        ("PUT", len(LARGE), 200),
        ("GET", 0, 206),
    ]


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
    await broken.store.finish_upload(upload, parts, crc(DATA))
    await count("POST", "PUT", "POST")
    await broken.store.read("k", 0, 10)  # the ETag of an upload is no MD5, so the checksum is asked for
    await count("GET", "HEAD")
    await broken.store.write("k", DATA, Attributes(tags={"a": "b"}), crc(DATA))
    await broken.store.read("k", 0, len(DATA))
    await count("PUT", "GET", "GET")
    await broken.write(b"")
    await broken.store.read("k", 0, 10)  # to an empty object, no range is right
    await count("PUT", "GET", "HEAD")


@pytest.mark.parametrize("data", [DATA, LARGE])
async def test_a_bit_that_flips_on_the_way_is_refused_by_the_server(broken: Broken, data: bytes) -> None:
    broken.proxy.plan(Fault("PUT", flip_request=1000))
    with pytest.raises(ChecksumMismatch):
        await broken.write(data)
    with pytest.raises(ObjectNotFound):
        await broken.store.head("k")


async def test_a_bit_that_flips_in_a_part_is_refused_by_the_server(broken: Broken) -> None:
    upload, _ = await broken.upload(DATA)
    broken.proxy.plan(Fault("PUT", "partNumber=1", flip_request=1000))
    with pytest.raises(ChecksumMismatch):
        await broken.store.write_part(upload, 1, DATA, crc(DATA).crc32c)


async def test_a_bit_that_flips_on_the_way_here_contradicts_what_the_store_declares(broken: Broken) -> None:
    await broken.write()
    broken.proxy.plan(Fault("GET", flip=1000))
    got = await broken.store.read("k", 0, len(DATA))
    assert got.meta.checksums.find_conflict(crc(got.data)) == "crc32c"


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
    await broken.write()
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
    broken.proxy.plan(Fault("PUT", status=503, headers={"retry-after": "7"}, body=ERROR))
    with pytest.raises(Throttled) as throttled:
        await broken.write()
    assert throttled.value.retry_after == 7.0


async def test_a_refusal_that_comes_before_the_body_has_gone_is_understood(broken: Broken) -> None:
    denied = b"<Error><Code>AccessDenied</Code></Error>"
    broken.proxy.plan(Fault("PUT", status=403, body=denied, headers={"connection": "close"}, early=True))
    with pytest.raises(PermissionDenied):
        await broken.write(bytes(32 * 2**20))


async def test_an_error_without_a_body_is_explained_by_a_second_request(broken: Broken) -> None:
    broken.proxy.plan(Fault("HEAD", status=403))
    broken.proxy.plan(Fault("GET", status=403, body=b"<Error><Code>RequestExpired</Code></Error>"))
    with pytest.raises(StoreError, match="clock"):
        await broken.store.head("k")


async def test_a_page_of_another_server_is_no_absent_object(broken: Broken) -> None:
    for page in (b"<html>not found</html>", b"not found", b"<"):
        broken.proxy.plan(Fault("GET", status=404, body=page))
        with pytest.raises(BucketNotFound):
            await broken.store.read("k", 0, 1)


async def test_a_completion_that_says_200_and_then_error_is_an_error(broken: Broken) -> None:
    upload, parts = await broken.upload(DATA)
    broken.proxy.plan(Fault("POST", "uploadId", status=200, body=ERROR))
    with pytest.raises(StoreUnavailable):
        await broken.store.finish_upload(upload, parts, crc(DATA))
    with pytest.raises(ObjectNotFound):
        await broken.store.head("k")
    assert (await broken.store.finish_upload(upload, parts, crc(DATA))).size == len(DATA)


async def test_an_answer_that_was_kept_alive_by_blanks_is_read(broken: Broken) -> None:
    """S3 sends them while it works, before the document or within."""
    await broken.write()
    found = await broken.store.head("k")
    assert broken.store.copy_source is not None
    upload = await broken.store.start_upload("copied", len(DATA), PART, MARKED)
    said = b' \n <?xml version="1.0" encoding="UTF-8"?> \n <CopyPartResult><ETag>"1"</ETag></CopyPartResult>'
    broken.proxy.plan(Fault("PUT", "partNumber", status=200, body=said))
    assert (await broken.store.copy_part(upload, 1, broken.store.copy_source, found)).tag == '"1"'


@pytest.mark.parametrize("said", [ERROR, b"", b"<html>", b" \n<CopyObjectResult>"])
async def test_a_copy_that_says_200_and_then_no_copy_is_an_error(broken: Broken, said: bytes) -> None:
    """Of a whole object, and of a part: it is tried again, and then it is there."""
    await broken.write()
    found = await broken.store.head("k")
    assert broken.store.copy_source is not None
    broken.proxy.plan(Fault("PUT", "copied", status=200, body=said))
    with pytest.raises(StoreError) as whole:
        await broken.store.copy_from(broken.store.copy_source, found, "copied", MARKED)
    upload = await broken.store.start_upload("copied", len(DATA), PART, MARKED)
    broken.proxy.plan(Fault("PUT", "partNumber", status=200, body=said))
    with pytest.raises(StoreError) as part:
        await broken.store.copy_part(upload, 1, broken.store.copy_source, found)
    assert {whole.value.disposition, part.value.disposition} == {Disposition.RETRY}
    with pytest.raises(ObjectNotFound):
        await broken.store.head("copied")
    again = await broken.store.copy_part(upload, 1, broken.store.copy_source, found)
    assert (await broken.store.finish_upload(upload, [again], crc(DATA))).size == len(DATA)


@pytest.mark.parametrize(
    ("kind", "claim"),
    [
        (COMPOSITE, "<ChecksumCRC32C>AAAAAA==-1</ChecksumCRC32C>"),
        ("", '<ETag>"00000000000000000000000000000000-1"</ETag>'),
        ("", "<ETag>something</ETag>"),
        (FULL_OBJECT, f"{ONE}<ChecksumCRC32C>AAAAAA==</ChecksumCRC32C><ChecksumType>FULL_OBJECT</ChecksumType>"),
        (FULL_OBJECT, ONE),
    ],
)
async def test_an_object_of_other_parts_is_not_proven(
    broken: Broken, monkeypatch: pytest.MonkeyPatch, kind: str, claim: str
) -> None:
    row = replace(SERVICES["localstack"], upload_checksum=kind)
    monkeypatch.setattr(s3_wire, "SERVICES", {"localstack": row})
    store = broken.place.store(broken.bucket, broken.proxy.url)
    upload = await store.start_upload("k", len(DATA), PART, MARKED)
    part = await store.write_part(upload, 1, DATA, crc(DATA).crc32c)
    said = f"<CompleteMultipartUploadResult>{claim}</CompleteMultipartUploadResult>"
    broken.proxy.plan(Fault("POST", "uploadId", status=200, body=said.encode(), forward=True))
    attested = (await store.finish_upload(upload, [part], crc(DATA))).checksums
    assert attested in (Checksums(), Checksums(crc32c="00000000"))
    await store.close()


async def test_a_completion_without_an_etag_is_followed_by_a_look(broken: Broken) -> None:
    """Ceph 16 omits it. Without the ETag, a later delete could not name what was written."""
    upload, parts = await broken.upload(DATA)
    broken.proxy.plan(Fault("POST", "uploadId", status=200, body=b"<CompleteMultipartUploadResult/>", forward=True))
    made = await broken.store.finish_upload(upload, parts, crc(DATA))
    found = await broken.store.head("k")
    assert (made.version, made.size, made.modified) == (found.version, found.size, found.modified)


async def test_a_completion_whose_answer_is_lost_is_found_to_be_done(broken: Broken) -> None:
    upload, parts = await broken.upload(DATA)
    broken.proxy.plan(Fault("POST", "uploadId", status=500, body=ERROR, forward=True))
    create = Precondition(create_only=True)
    with pytest.raises(StoreUnavailable):
        await broken.store.finish_upload(upload, parts, crc(DATA), create)
    made = await broken.store.finish_upload(upload, parts, crc(DATA), create)
    assert made.version == (await broken.store.head("k")).version
    assert made.attributes == MARKED


async def test_an_upload_that_is_gone_is_not_taken_for_the_object_of_another(broken: Broken) -> None:
    upload, parts = await broken.upload(DATA)
    await broken.store.abort_upload(upload)
    for attributes, data in ((Attributes(), DATA), (MARKED, DATA[:-1])):
        await broken.store.write("k", data, attributes, crc(data))
        with pytest.raises(StoreError, match="upload does not exist"):
            await broken.store.finish_upload(upload, parts, crc(DATA))


async def test_keys_are_listed_as_amazon_writes_them(broken: Broken) -> None:
    item = "<Contents><Key>a+b%2Bc%C3%BC</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>1</Size></Contents>"
    for encoding, key in (("<EncodingType>url</EncodingType>", "a b+cü"), ("", "a+b%2Bc%C3%BC")):
        listing = f"<ListBucketResult>{encoding}{item}</ListBucketResult>"
        broken.proxy.plan(Fault("GET", status=200, body=listing.encode()))
        assert [meta.key async for meta in broken.store.list()] == [key]


async def test_a_listing_that_does_not_say_how_it_goes_on_is_an_error(broken: Broken) -> None:
    """Some services do not know version 2 of listings: to ask again is to get the same page for ever."""
    item = "<Contents><Key>a</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>1</Size></Contents>"
    page = f"<ListBucketResult>{item}<IsTruncated>true</IsTruncated></ListBucketResult>"
    broken.proxy.plan(Fault("GET", status=200, body=page.encode()))
    with pytest.raises(Unsupported, match="goes on"):
        assert [meta.key async for meta in broken.store.list()] == []
    page = "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated></ListMultipartUploadsResult>"
    broken.proxy.plan(Fault("GET", "uploads", status=200, body=page.encode()))
    with pytest.raises(Unsupported, match="goes on"):
        assert [upload.id async for upload in broken.store.uploads()] == []


async def test_a_listing_that_begins_again_is_an_error(broken: Broken) -> None:
    """A proxy or a service forgets the token: to go on would be without an end."""
    item = "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>1</Size></Contents>"
    end = "<IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken>"
    for key, token in (("b", "one"), ("a", "two")):
        for each, says in (("a", "one"), (key, token)):
            page = f"<ListBucketResult>{item.format(each)}{end.format(says)}</ListBucketResult>"
            broken.proxy.plan(Fault("GET", status=200, body=page.encode()))
        with pytest.raises(StoreError, match="repeats a page"):
            assert [meta.key async for meta in broken.store.list()] == []


async def test_a_listing_continues_at_the_token_of_the_page(broken: Broken) -> None:
    """It does not say that it is the last one."""
    item = "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>1</Size></Contents>"
    for key, token in (("a", "<NextContinuationToken>t</NextContinuationToken>"), ("b", "")):
        page = f"<ListBucketResult>{item.format(key)}{token}</ListBucketResult>"
        broken.proxy.plan(Fault("GET", status=200, body=page.encode()))
    assert [meta.key async for meta in broken.store.list()] == ["a", "b"]


async def test_where_the_order_is_not_known_nothing_is_left_out(
    broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the service's own order `start-after` would mean other keys."""
    monkeypatch.setattr(broken.store, "_service", SERVICES["other"])
    item = "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>1</Size></Contents>"
    page = f"<ListBucketResult>{''.join(map(item.format, ('a', 'a/b', 'a-b')))}</ListBucketResult>"
    broken.proxy.plan(Fault("GET", status=200, body=page.encode()))
    assert [meta.key async for meta in broken.store.list(after="a-b")] == ["a/b"]
    assert "start-after" not in broken.proxy.exchanges[-1].target


@pytest.mark.parametrize("page", [ERROR, b"<html><body>Sign in</body></html>"])
async def test_another_document_is_no_empty_listing(broken: Broken, page: bytes) -> None:
    broken.proxy.plan(Fault("GET", status=200, body=page))
    with pytest.raises(StoreError, match="no listing"):
        assert [meta.key async for meta in broken.store.list()] == []


@pytest.mark.parametrize("attests_parts", [False, True])
async def test_each_part_is_compared_by_its_md5_where_there_is_no_other_checksum(
    broken: Broken, monkeypatch: pytest.MonkeyPatch, attests_parts: bool
) -> None:
    """The server refuses a part that arrives changed, and a bucket with Object Lock demands the header; or the ETag shows it."""
    row = replace(SERVICES["localstack"], checksums=False, upload_checksum="", attests_parts=attests_parts)
    monkeypatch.setattr(s3_wire, "SERVICES", {"localstack": row})
    store = broken.place.store(broken.bucket, broken.proxy.url)
    upload = await store.start_upload("k", len(DATA), PART, MARKED)
    broken.proxy.plan(Fault("PUT", "partNumber", flip_request=1000))
    with pytest.raises(ChecksumMismatch):
        await store.write_part(upload, 1, DATA, crc(DATA).crc32c)
    assert (await store.write_part(upload, 1, DATA, crc(DATA).crc32c)).crc32c == crc(DATA).crc32c
    assert ("content-md5" in broken.proxy.exchanges[-1].headers) is not attests_parts
    await store.close()


async def test_a_service_without_checksums_is_not_asked_for_them(
    broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backblaze refuses the header that asks with 400, and with it every look and every read."""
    monkeypatch.setattr(s3_wire, "SERVICES", {"localstack": SERVICES["b2"]})
    store = broken.place.store(broken.bucket, broken.proxy.url)
    await store.write("k", DATA, MARKED, Checksums())
    await store.head("k")
    await store.read("k", 0, 10)
    upload = await store.start_upload("k", len(DATA), PART, MARKED)
    part = await store.write_part(upload, 1, DATA, crc(DATA).crc32c)
    await store.finish_upload(upload, [part], crc(DATA))
    with pytest.raises(UploadGone):
        await store.finish_upload(upload, [part], crc(DATA))
    assert not [x.method for x in broken.proxy.exchanges if any("checksum" in name for name in x.headers)]
    await store.close()


async def test_where_the_requester_pays_every_request_says_so(broken: Broken) -> None:
    """And no store that does not say it copies from there by itself."""
    options = replace(broken.place.options, endpoint=broken.proxy.url, requester_pays=True)
    who = fixed_credentials(await broken.place.credentials())
    store = S3Store("s3", broken.bucket, who, options)
    await store.write("k", DATA, MARKED, crc(DATA))
    await store.read("k", 0, 10)
    assert [meta.key async for meta in store.list()] == ["k"]
    await store.delete("k")
    assert {x.headers.get("x-amz-request-payer") for x in broken.proxy.exchanges} == {"requester"}
    assert store.copy_source == S3Store("other", broken.bucket, who, options).copy_source
    assert store.copy_source != S3Store("other", broken.bucket, who, replace(options, requester_pays=False)).copy_source
    await store.close()
