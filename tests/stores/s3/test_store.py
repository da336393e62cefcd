"""S3, on LocalStack (which checks checksums) and on radosgw (which checks signatures)."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace

import pytest
from awscrt import checksums as crt

from skyferry.clouds.credentials import S3Credentials, fixed_credentials
from skyferry.errors import (
    ChecksumMismatch,
    ConfigError,
    IdentityRefused,
    ObjectNotFound,
    PreconditionFailed,
    Unsupported,
)
from skyferry.model import Attributes, Checksums
from skyferry.ports import Part, Precondition, Upload
from skyferry.stores.s3 import client as s3_wire
from skyferry.stores.s3.client import S3Options, root
from skyferry.stores.s3.services import COMPOSITE, SERVICES
from skyferry.stores.s3.store import S3Store
from skyferry.testing.servers.s3 import S3Place

PART = 5 * 2**20
CREATE = Precondition(create_only=True)

AWKWARD = (
    "a b", "a+b", "a%20b", "ü/☃", "😀", "a//b", "/lead", "trail/", "dot/./x", "dot/../y", "q?a=b&c#d", "quo'\"t<>",
    "tab\there", "control\x01", "line\nbreak", "back\\slash", "~tilde*(!)", "x" * 1024,
)  # fmt: skip

EVERYTHING = Attributes(
    content_type="text/plain; charset=utf-8",
    content_encoding="gzip",
    content_language="de",
    content_disposition='attachment; filename="x y.txt"',
    cache_control="no-store",
    metadata={"plain": "a  b", "other": "ünïcode ☃", "lead": " x", "empty": "", "looks-coded": "=?UTF-8?B?eA==?="},
    tags={"two words": "v/ü+1", "b": ""},
)


def digests(data: bytes) -> Checksums:
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return Checksums(crc32c=f"{crt.crc32c(data):08x}", sha256=hashlib.sha256(data).hexdigest(), md5=md5)


async def put(store: S3Store, key: str, data: bytes, attributes: Attributes = EVERYTHING) -> str:
    return (await store.write(key, data, attributes, digests(data))).version


async def send(store: S3Store, upload: Upload, data: bytes) -> list[Part]:
    pieces = [data[i : i + upload.part_size] for i in range(0, len(data), upload.part_size)]
    return [await store.write_part(upload, n, piece, digests(piece).crc32c) for n, piece in enumerate(pieces, 1)]


async def test_what_an_object_carries_comes_back(s3_store: S3Store) -> None:
    data = b"\x1f\x8b no gzip, and nobody unpacks it"
    wrote = await s3_store.write("k", data, EVERYTHING, digests(data))
    got = await s3_store.read("k", 0, 1000)
    assert got.data == data
    assert got.meta.attributes == wrote.attributes == EVERYTHING
    assert (await s3_store.head("k")).attributes == EVERYTHING
    assert got.meta.version == wrote.version
    assert got.meta.size == len(data)
    assert wrote.checksums.comparable_with(digests(data))
    assert not wrote.checksums.find_conflict(digests(data))


@pytest.mark.parametrize("key", AWKWARD)
async def test_awkward_keys_that_localstack_can_hold(localstack_s3: S3Place, key: str) -> None:
    store = localstack_s3.store(await localstack_s3.bucket())
    await put(store, key, key.encode())
    assert (await store.read(key, 0, 2000)).data == key.encode()
    assert [meta.key async for meta in store.list()] == [key]
    await store.delete(key)
    assert [meta.key async for meta in store.list()] == []
    await store.close()


async def test_a_versioned_bucket_still_has_the_old_version(s3: S3Place) -> None:
    store = s3.store(await s3.bucket(versioned=True))
    old, new = await put(store, "k", b"one"), await put(store, "k", b"two")
    assert (await store.read("k", 0, 10, version=old)).data == b"one"
    assert (await store.read("k", 1, 1, version=new)).data == b"w"
    await store.delete("k")
    assert (await store.read("k", 0, 10, version=new)).data == b"two"
    with pytest.raises(ObjectNotFound):
        await store.head("k")
    await store.close()


async def test_the_server_refuses_a_body_that_differs(s3_store: S3Store) -> None:
    kept = await put(s3_store, "k", b"old")
    names = ["sha256", "md5"] + (["crc32c"] if "crc32c" in s3_store.traits.checksums_returned else [])
    for name in names:
        wrong = replace(Checksums(), **{name: getattr(digests(b"other"), name)})
        with pytest.raises(ChecksumMismatch):
            await s3_store.write("k", b"new", EVERYTHING, wrong)
    assert (await s3_store.head("k")).version == kept


@pytest.mark.parametrize("name", ["crc32c", "crc64nvme", "sha256"])
async def test_the_store_returns_the_checksum_that_was_sent(localstack_s3: S3Place, name: str) -> None:
    store = localstack_s3.store(await localstack_s3.bucket())
    known = replace(digests(b"abc"), crc64nvme=f"{crt.crc64nvme(b'abc'):016x}")
    given = Checksums(**{name: getattr(known, name)})
    wrote = await store.write("k", b"abc", EVERYTHING, given)
    assert getattr(wrote.checksums, name) == getattr((await store.head("k")).checksums, name) == getattr(known, name)
    await store.close()


async def test_an_upload_becomes_one_proven_object(s3_store: S3Store) -> None:
    data = os.urandom(2 * PART + 1000)
    upload = await s3_store.start_upload("k", len(data), PART, EVERYTHING)
    parts = await send(s3_store, upload, data)
    assert [replace(part, crc32c="") for part in await s3_store.uploaded_parts(upload)] == [
        replace(part, crc32c="") for part in parts
    ]
    assert [(u.id, u.key) async for u in s3_store.uploads()] == [(upload.id, "k")]
    with pytest.raises(ObjectNotFound):
        await s3_store.head("k")
    made = await s3_store.finish_upload(upload, list(reversed(parts)), digests(data))
    assert made.checksums.crc32c == digests(data).crc32c
    got = await s3_store.read("k", 0, len(data))
    assert got.data == data
    assert (got.meta.version, got.meta.size) == (made.version, made.size)
    lost = "tags of large objects" in s3_store.traits.lossy
    assert got.meta.attributes == (replace(EVERYTHING, tags={}) if lost else EVERYTHING)
    assert (await s3_store.read("k", PART, 5, version=made.version)).data == data[PART : PART + 5]
    again = await s3_store.finish_upload(upload, parts, digests(data))  # the answer may have been lost
    assert replace(again, modified=made.modified, position=made.position) == made
    assert [u.id async for u in s3_store.uploads()] == []


@pytest.mark.parametrize("kind", [COMPOSITE, ""])
async def test_an_upload_whose_whole_has_no_checksum_is_proven_by_its_parts(
    localstack_s3: S3Place, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    row = replace(SERVICES["localstack"], upload_checksum=kind)
    monkeypatch.setattr(s3_wire, "SERVICES", {**SERVICES, "localstack": row})
    store = localstack_s3.store(await localstack_s3.bucket())
    data = os.urandom(PART + 1000)
    upload = await store.start_upload("k", len(data), PART, EVERYTHING)
    made = await store.finish_upload(upload, await send(store, upload, data), digests(data))
    assert made.checksums == Checksums(crc32c=digests(data).crc32c)
    assert (await store.head("k")).checksums.crc32c == ""  # later, nobody can tell
    await store.close()


async def test_a_wrong_part_or_whole_is_refused(localstack_s3: S3Place) -> None:
    store = localstack_s3.store(await localstack_s3.bucket())
    data = os.urandom(100)
    upload = await store.start_upload("k", len(data), PART, EVERYTHING)
    with pytest.raises(ChecksumMismatch):
        await store.write_part(upload, 1, data, "00000001")
    parts = await send(store, upload, data)
    with pytest.raises(ChecksumMismatch):
        await store.finish_upload(upload, parts, Checksums(crc32c="00000001"))
    with pytest.raises(ObjectNotFound):
        await store.head("k")
    await store.close()


async def test_an_upload_is_finished_under_a_precondition_or_not_at_all(s3_store: S3Store) -> None:
    upload = await s3_store.start_upload("k", 3, PART, EVERYTHING)
    parts = await send(s3_store, upload, b"big")
    await put(s3_store, "k", b"other")
    with pytest.raises(PreconditionFailed if s3_store.traits.finish_exact else Unsupported):
        await s3_store.finish_upload(upload, parts, digests(b"big"), CREATE)
    assert (await s3_store.read("k", 0, 10)).data == b"other"
    await s3_store.abort_upload(upload)


async def test_credentials_that_are_wrong_are_refused_with_a_hint(radosgw_s3: S3Place) -> None:
    bucket = await radosgw_s3.bucket()
    for place, said in (
        (replace(radosgw_s3, access_key="nobody"), "does not exist here"),
        (replace(radosgw_s3, secret_key="wrong"), "belongs to the access key"),
    ):
        store = place.store(bucket)
        for ask in (store.head("k"), store.read("k", 0, 1), put(store, "k", b"x")):
            with pytest.raises(IdentityRefused, match=said):
                await ask
        await store.close()


async def test_renewed_credentials_are_used_at_once(radosgw_s3: S3Place) -> None:
    answers = iter([S3Credentials("nobody", "x"), await radosgw_s3.credentials()])

    async def provider(*, stale: str = "") -> S3Credentials:
        return next(answers)

    store = S3Store("s3", await radosgw_s3.bucket(), provider, radosgw_s3.options)
    await put(store, "k", b"x")
    await store.close()


async def test_a_version_without_an_etag_is_no_precondition(localstack_s3: S3Place) -> None:
    store = localstack_s3.store(await localstack_s3.bucket(versioned=True))
    version = await put(store, "k", b"1")
    with pytest.raises(Unsupported, match="names none"):
        await store.write("k", b"2", EVERYTHING, digests(b"2"), Precondition(replace=version.partition('"')[0]))
    await store.close()


def test_where_a_bucket_is() -> None:
    amazon, other = S3Options(), S3Options(service="minio", endpoint="https://minio.example:9000/s3/")
    assert root("b", amazon, "eu-west-3") == "https://b.s3.eu-west-3.amazonaws.com/"
    assert root("b.c", amazon, "eu-west-3") == "https://s3.eu-west-3.amazonaws.com/b.c/"  # no certificate has *.*.
    for name in ("Photos", "my_bucket", "-b", "b-"):  # as a host name: another bucket, or none
        assert root(name, amazon, "eu-west-3") == f"https://s3.eu-west-3.amazonaws.com/{name}/"
    assert root("b", amazon, "cn-north-1") == "https://b.s3.cn-north-1.amazonaws.com.cn/"
    assert root("b", amazon, "eusc-de-east-1") == "https://b.s3.eusc-de-east-1.amazonaws.eu/"
    assert root("b", amazon, "us-gov-west-1") == "https://b.s3.us-gov-west-1.amazonaws.com/"
    assert root("b", other, "us-east-1") == "https://minio.example:9000/s3/b/"
    for address in ("http://127.0.0.1:9000", "http://[::1]:9000"):  # no name below an address resolves
        assert root("b", S3Options(endpoint=address), "us-east-1") == f"{address}/b/"


def test_a_directory_bucket_is_refused_before_it_is_asked() -> None:
    """It wants sessions, lists in no order and keeps no versions."""
    with pytest.raises(ConfigError, match="general purpose"):
        S3Store("s3", "fast--use1-az4--x-s3", fixed_credentials(S3Credentials("k", "s")), S3Options())


def test_a_service_that_is_not_known_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match="one of aws, minio"):
        S3Options(service="minoi").row  # noqa: B018 - raises


async def test_a_storage_class_that_ceph_does_not_have_is_named(radosgw_s3: S3Place) -> None:
    """It answers InvalidArgument without a word. The object becomes a dead letter at once."""
    store = radosgw_s3.store(await radosgw_s3.bucket())
    attributes = Attributes(storage_class="STANDARD_IA")
    for call in (
        store.write("k", b"x", attributes, digests(b"x")),
        store.start_upload("k", 10, 5 * 2**20, attributes),
    ):
        with pytest.raises(Unsupported, match="its storage class STANDARD_IA") as caught:
            await call
        assert "`storage_class` of the route" in caught.value.hint
    await store.write("k", b"x", Attributes(storage_class="STANDARD"), digests(b"x"))
    await store.close()
