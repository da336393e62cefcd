"""Azure Blob Storage, on Azurite, beside Microsoft's own client."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

import pytest
from azure.storage.blob import BlobBlock, BlobServiceClient, ContainerClient, ContentSettings

from skyferry.clouds.azure import SharedKey
from skyferry.clouds.credentials import fixed_credentials
from skyferry.errors import (
    ChecksumMismatch,
    ConfigError,
    InvalidKey,
    PermissionDenied,
    PreconditionFailed,
    StoreError,
    Unsupported,
    UploadGone,
)
from skyferry.model import Attributes, Checksums, Part, Upload
from skyferry.ports import Precondition
from skyferry.stores.azure.client import AzureClient, AzureOptions
from skyferry.stores.azure.store import AzureStore
from skyferry.testing.servers import Azurite
from skyferry.testing.servers.azure import AzurePlace
from skyferry.testing.store_cases.place import EVERYTHING, compute_digests, split_parts

PART = 64 * 2**10
BARE = Attributes()


@dataclass(frozen=True, slots=True)
class Both:
    """One container, by Skyferry and by Microsoft's client."""

    store: AzureStore
    sdk: ContainerClient
    place: AzurePlace
    container: str

    async def put(self, key: str, data: bytes, attributes: Attributes = BARE) -> str:
        return (await self.store.write(key, data, attributes, compute_digests(data))).version

    async def send(self, upload: Upload, data: bytes) -> list[Part]:
        return [await self.store.write_part(upload, *each) for each in split_parts(upload, data)]


@pytest.fixture(scope="module")
def microsoft(azurite_server: Azurite) -> Iterator[BlobServiceClient]:
    with BlobServiceClient.from_connection_string(azurite_server.connection_string) as client:
        yield client


@pytest.fixture
async def both(azurite_server: Azurite, microsoft: BlobServiceClient) -> AsyncIterator[Both]:
    place = AzurePlace.on(azurite_server)
    container = await place.container()
    store = place.store(container)
    yield Both(store, microsoft.get_container_client(container), place, container)
    await store.close()


async def test_microsoft_s_client_reads_what_we_write(both: Both) -> None:
    data = os.urandom(1000)
    for large in (False, True):
        if large:
            upload = await both.store.start_upload("k", len(data), PART, EVERYTHING)
            await both.store.finish_upload(upload, await both.send(upload, data), compute_digests(data))
        else:
            await both.put("k", data, EVERYTHING)
        blob = both.sdk.get_blob_client("k")
        found = blob.get_blob_properties()
        settings = found.content_settings
        assert blob.download_blob(decompress=False).readall() == data
        assert settings.content_type == "text/plain; charset=utf-8"
        assert (settings.content_encoding, settings.content_language) == ("gzip", "de")
        assert (settings.content_disposition, settings.cache_control) == ('attachment; filename="x y.txt"', "no-store")
        assert settings.content_md5 == bytearray(hashlib.md5(data, usedforsecurity=False).digest())
        assert found.metadata == {
            "plain": "a  b",
            "other": f"=?UTF-8?B?{base64.b64encode('ünïcode ☃'.encode()).decode()}?=",
            "number": "1",
            "with_x002d_dash": "skyferry",
        }
        assert blob.get_blob_tags() == {"two words": "v+1", "b": "x"}


async def test_we_read_what_microsoft_s_client_writes(both: Both) -> None:
    data = os.urandom(3 * 2**20)
    settings = ContentSettings("text/css", "br", "en", "inline", "no-cache")
    both.sdk.upload_blob("whole", data, metadata={"Mixed": "1"}, tags={"a": "b"}, content_settings=settings)
    both.sdk.get_blob_client("blocks").stage_block("block", data)
    both.sdk.get_blob_client("blocks").commit_block_list([BlobBlock("block")])
    whole, blocks = await both.store.head("whole"), await both.store.head("blocks")
    assert whole.attributes == Attributes("text/css", "br", "en", "inline", "no-cache", {"mixed": "1"}, {"a": "b"})
    assert whole.checksums == Checksums(md5=compute_digests(data).md5)
    assert blocks.checksums == Checksums()  # nobody declared any
    assert (await both.store.read("blocks", 5, 10)).data == data[5:15]


async def test_a_wrong_key_is_denied_with_a_hint(both: Both, azurite_server: Azurite) -> None:
    wrong = base64.b64encode(b"wrong").decode()
    store = replace(both.place, credential=fixed_credentials(SharedKey(azurite_server.account, wrong))).store(
        both.container
    )
    for ask in (store.head("k"), store.read("k", 0, 1), store.write("k", b"x", BARE, Checksums())):
        with pytest.raises(
            PermissionDenied, match="give this identity the role"
        ):  # Azurite does not say that it is the key
            await ask
    await store.close()


@pytest.mark.parametrize("name", ["crc32c", "crc64nvme", "md5"])
async def test_a_body_is_proven_by_whatever_is_known_of_it(both: Both, name: str) -> None:
    data = os.urandom(100_000)
    written = await both.store.write("k", data, BARE, Checksums(**{name: getattr(compute_digests(data), name)}))
    assert written.checksums == replace(compute_digests(data), sha256="")


async def test_an_upload_lists_its_uncommitted_parts_and_whether_it_is_finished(both: Both) -> None:
    data = os.urandom(2 * PART + 5)
    upload = await both.store.start_upload("k", len(data), PART, EVERYTHING)
    parts = await both.send(upload, data)
    other = both.place.store(both.container)
    assert await other.uploaded_parts(upload) == parts
    assert [(u.id, u.key, u.started_at) async for u in other.uploads()] == [(upload.id, "k", upload.started_at)]
    made = await other.finish_upload(upload, list(reversed(parts)), compute_digests(data))
    assert made.checksums == Checksums(crc32c=compute_digests(data).crc32c)
    for when in (Precondition(), Precondition(create_only=True)):  # the answer may have been lost
        assert await both.store.finish_upload(upload, parts, compute_digests(data), when) == made
    assert (await both.store.head("k")).version == made.version
    await other.close()


async def test_parts_of_two_uploads_never_become_one_blob(both: Both) -> None:
    data = os.urandom(PART + 5)
    one, two = [await both.store.start_upload("k", len(data), PART, BARE) for _ in range(2)]
    mixed = [(await both.send(one, data))[0], (await both.send(two, data))[1]]
    for upload in (one, two):
        with pytest.raises(StoreError, match="not those of the whole"):
            await both.store.finish_upload(upload, mixed, compute_digests(data))


async def test_a_note_that_lies_about_a_part_is_not_believed(both: Both) -> None:
    data = os.urandom(10)
    upload = await both.store.start_upload("k", len(data), PART, BARE)
    (part,) = await both.send(upload, data)
    with pytest.raises(ChecksumMismatch):
        await both.store.finish_upload(upload, [replace(part, crc32c="00000000")], Checksums(crc32c="00000000"))
    assert (await both.store.finish_upload(upload, [part], compute_digests(data))).size == 10


async def test_a_part_sent_with_two_contents_is_sent_again(both: Both) -> None:
    upload = await both.store.start_upload("k", 2, 1, BARE)
    for number, data in ((1, b"a"), (1, b"b"), (2, b"c")):
        await both.store.write_part(upload, number, data, compute_digests(data).crc32c)
    assert [part.number for part in await both.store.uploaded_parts(upload)] == [2]


async def test_another_writer_of_the_key_ends_an_upload(both: Both) -> None:
    upload = await both.store.start_upload("k", 3, PART, BARE)
    parts = await both.send(upload, b"big")
    both.sdk.get_blob_client("k").stage_block("s" * 48, b"other")
    both.sdk.get_blob_client("k").commit_block_list([BlobBlock("s" * 48)])
    version = (await both.store.head("k")).version
    with pytest.raises(UploadGone):
        await both.store.uploaded_parts(upload)
    with pytest.raises(UploadGone):
        await both.store.finish_upload(upload, parts, compute_digests(b"big"))
    with pytest.raises(PreconditionFailed):
        await both.store.finish_upload(upload, parts, compute_digests(b"big"), Precondition(create_only=True))
    assert (await both.store.head("k")).version == version


async def test_an_upload_given_up_elsewhere_is_not_gone_on_with(both: Both) -> None:
    upload = await both.store.start_upload("k", 3, PART, BARE)
    await both.send(upload, b"big")
    other = both.place.store(both.container)
    for _ in range(2):
        await other.abort_upload(upload)
    with pytest.raises(UploadGone):
        await both.store.uploaded_parts(upload)
    assert [u async for u in both.store.uploads()] == []
    await other.close()


async def test_what_others_upload_is_left_alone(both: Both) -> None:
    blob = both.sdk.get_blob_client("k")
    blob.stage_block("s" * 48, b"other")  # Microsoft's client encodes it to an id of the length of Skyferry's
    assert [u async for u in both.store.uploads()] == []
    upload = await both.store.start_upload("k", 3, PART, BARE)
    parts = await both.send(upload, b"big")
    assert await both.store.uploaded_parts(upload) == parts
    await both.store.abort_upload(upload)
    assert "s" * 48 in [block.id for block in blob.get_block_list("uncommitted")[1]]


async def test_an_upload_of_another_program_is_reported(both: Both) -> None:
    both.sdk.get_blob_client("k").stage_block("short", b"other")
    with pytest.raises(StoreError, match="blocks of another program wait"):
        await both.store.start_upload("k", 3, PART, BARE)


async def test_tiers_are_storage_classes(both: Both) -> None:
    await both.put("k", b"x", Attributes(storage_class="Cool"))
    assert both.sdk.get_blob_client("k").get_blob_properties().blob_tier == "Cool"
    assert (await both.store.head("k")).attributes.storage_class == "Cool"
    with pytest.raises(Unsupported, match="map the source's storage class"):
        await both.put("k", b"x", Attributes(storage_class="STANDARD_IA"))
    await both.put("k", b"x", Attributes(storage_class="Archive"))
    with pytest.raises(Unsupported, match="rehydrate"):
        await both.store.read("k", 0, 1)


async def test_the_reason_of_a_refused_write_is_reported(both: Both) -> None:
    await both.put("snapshots", b"x")
    both.sdk.get_blob_client("snapshots").create_snapshot()
    with pytest.raises(Unsupported, match="delete them first"):
        await both.store.delete("snapshots")
    await both.put("leased", b"x")
    both.sdk.get_blob_client("leased").acquire_lease()
    with pytest.raises(StoreError, match="release or break"):
        await both.put("leased", b"y")
    both.sdk.get_blob_client("append").create_append_blob()
    with pytest.raises(Unsupported, match="delete it first"):
        await both.store.start_upload("append", 3, PART, BARE)
    with pytest.raises(Unsupported, match="10 tags"):
        await both.put("k", b"x", Attributes(tags={"ü": "x"}))


@pytest.mark.parametrize("hierarchical", [False, True])
async def test_a_listing_has_no_blobs_before_after_or_without_the_prefix(both: Both, hierarchical: bool) -> None:
    options = replace(both.place.options, list_page=3, hierarchical=hierarchical)
    store = AzureStore("azure", both.container, options, both.place.credential)
    keys = sorted(
        ["!", "A", "a!b", "a-b", "a.b", "a/!", "a/b", "a/b-c", "a/b.c", "a/b0", "a/c/d", "a0", "b", "é", "～"]
    )
    for key in keys:
        await both.put(key, b"x")
    for prefix in ("", "a", "a/", "é", "none"):
        for after in ("", "a", "a/b", "a/b-", "a-", "é", "～", "～x", "\U0001f600"):
            wanted = [key for key in keys if key.startswith(prefix) and key > after]
            assert [meta.key async for meta in store.list(prefix, after)] == wanted, (prefix, after)
    await store.close()


async def test_a_copy_keeps_the_md5_and_goes_to_another_container(both: Both) -> None:
    data = os.urandom(5000)
    await both.put("source key/ü", data)
    found = await both.store.head("source key/ü")
    there = both.place.store(await both.place.container())
    copy_source = both.store.copy_source
    assert copy_source is not None
    assert there.copy_source is not None
    assert there.copy_source.scope == copy_source.scope
    made = await there.copy_from(copy_source, found, "k", EVERYTHING)
    assert made.checksums == Checksums(md5=compute_digests(data).md5)
    assert (await there.head("k")).checksums == made.checksums
    wrong = replace(found, checksums=Checksums(md5="0" * 32))
    with pytest.raises(ChecksumMismatch):
        await there.copy_from(copy_source, wrong, "wrong", EVERYTHING)
    assert [meta.key async for meta in there.list()] == ["k"]
    await there.close()


def test_only_stores_with_one_credential_copy_from_each_other() -> None:
    options = AzureOptions("https://a.blob.core.windows.net")
    one, two = (
        AzureStore("1", "c", options, fixed_credentials("t")),
        AzureStore("2", "c", options, fixed_credentials("t")),
    )
    assert one.copy_source is not None
    assert two.copy_source is not None
    assert one.copy_source.scope != two.copy_source.scope


def test_where_a_container_is() -> None:
    options = AzureOptions("https://a.blob.core.windows.net/")
    assert (
        AzureClient("s", "c", fixed_credentials(""), options).url("k /ü")
        == "https://a.blob.core.windows.net/c/k%20/%C3%BC"
    )
    assert AzureClient("s", "$root", fixed_credentials(""), options).root == "https://a.blob.core.windows.net/%24root"
    for endpoint in ("", "a.blob.core.windows.net", "ftp://a"):
        with pytest.raises(ConfigError, match="as in https://ACCOUNT"):
            AzureStore("s", "c", AzureOptions(endpoint), fixed_credentials(""))


async def test_a_key_that_azure_would_change_is_refused(both: Both) -> None:
    for key in ("a\\b", "a.", "a./b", "..", "a\x7fb", "/" * 254):
        with pytest.raises(InvalidKey):
            await both.put(key, b"x")
    for key in (".a", "a.b", "..a/b", "/" * 253 + "x"):
        await both.put(key, b"x")
