"""Resumable uploads to Cloud Storage: what is kept of a chunk, who may finish, what a retention policy lets through.

The fake answers; a proxy breaks what it says, and counts what it is sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from skyferry.errors import (
    ChecksumMismatch,
    ConnectionLost,
    ObjectNotFound,
    PermissionDenied,
    PreconditionFailed,
    SkyferryError,
    StoreError,
    StoreUnavailable,
    Throttled,
    Unsupported,
    UploadGone,
)
from skyferry.model import Attributes, Checksums, ObjectMeta, Part, Upload
from skyferry.ports import ANY, Precondition
from skyferry.stores.gcs.resumable import STEP
from skyferry.stores.gcs.store import GcsStore
from skyferry.testing.servers.gcs import GcsPlace
from skyferry.testing.servers.proxy import Exchange, Fault, FaultProxy
from skyferry.testing.store_cases.place import BARE, compute_digests, make_noise

PART = 4 * STEP
DATA = make_noise(2 * PART + STEP + 77)
CREATE = Precondition(create_only=True)
KEEPS = {"retentionPolicy": {"retentionPeriod": "86400"}}  # what makes a bucket keep what it is given
HOLDS = {"defaultEventBasedHold": True}
OTHER = b'{"name":"k","generation":"%b","metageneration":"1","size":"9","crc32c":"AAAAAA==","updated":"2026-11-25T14:00:00Z"}'


@dataclass
class Bucket:
    """A bucket with resumable uploads, behind a proxy."""

    store: GcsStore
    proxy: FaultProxy
    plain: GcsStore  # the same, with uploads that are composed
    name: str

    async def start(self, data: bytes = DATA, part_size: int = PART) -> Upload:
        return await self.store.start_upload("k", len(data), part_size, BARE)

    async def send(self, upload: Upload, data: bytes = DATA, first: int = 1) -> list[Part]:
        """The parts from that one on."""
        size, found = upload.part_size, []
        for number in range(first, -(-len(data) // size) + 1):
            piece = data[(number - 1) * size : number * size]
            found.append(await self.store.write_part(upload, number, piece, compute_digests(piece).crc32c))
        return found

    async def finish(self, upload: Upload, parts: list[Part], when: Precondition = ANY) -> ObjectMeta:
        return await self.store.finish_upload(upload, parts, Checksums(), when)

    async def put(self, data: bytes, key: str = "k") -> ObjectMeta:
        return await self.store.write(key, data, BARE, compute_digests(data))

    async def get(self) -> bytes:
        return (await self.store.read("k", 0, 2**24)).data

    @property
    def chunks(self) -> list[Exchange]:
        """What was sent to sessions."""
        return [each for each in self.proxy.exchanges if each.method == "PUT"]


async def opened(gcs: GcsPlace, name: str) -> AsyncIterator[Bucket]:
    async with FaultProxy(gcs.options.endpoint) as proxy:
        options = replace(gcs.options, endpoint=proxy.url, read_timeout=2.0)
        plain = replace(gcs, options=options).store(name)
        store = replace(gcs, options=replace(options, uploads="resumable")).store(name)
        yield Bucket(store, proxy, plain, name)
        await store.close()
        await plain.close()
        assert proxy.pending == 0, "a fault that was planned did not happen"


@pytest.fixture
async def bucket(gcs: GcsPlace) -> AsyncIterator[Bucket]:
    async for each in opened(gcs, await gcs.bucket()):
        yield each


@pytest.fixture(params=[KEEPS, HOLDS])
async def kept(gcs: GcsPlace, request: pytest.FixtureRequest) -> AsyncIterator[Bucket]:
    """Its objects cannot be deleted, for a day or until somebody says so."""
    async for each in opened(gcs, await gcs.bucket(**request.param)):
        yield each


@pytest.mark.parametrize("size", [1, STEP - 1, STEP, STEP + 1, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + STEP])
async def test_whatever_its_size_an_object_arrives_and_no_byte_is_sent_twice(bucket: Bucket, size: int) -> None:
    """Chunks are multiples of 256 KiB but for the last, which tells the size."""
    upload = await bucket.start(DATA[:size])
    parts = await bucket.send(upload, DATA[:size])
    with pytest.raises(ObjectNotFound):
        await bucket.store.head("k")
    made = await bucket.finish(upload, parts)
    assert (made.size, made.checksums.crc32c, await bucket.get()) == (
        size,
        compute_digests(DATA[:size]).crc32c,
        DATA[:size],
    )
    *chunks, last = bucket.chunks
    assert all(each.received % STEP == 0 and each.headers["content-range"].endswith("/*") for each in chunks)
    assert last.received < STEP
    assert last.headers["content-range"].endswith(f"/{size}")
    assert sum(each.received for each in bucket.chunks) == size


async def test_what_was_kept_of_a_chunk_is_not_sent_again(bucket: Bucket) -> None:
    """The service says that one of four steps is there: it is sent the other three."""
    upload = await bucket.start()
    bucket.proxy.plan(Fault("PUT", status=308, headers={"range": f"bytes=0-{STEP - 1}"}, forward=True))
    parts = await bucket.send(upload)
    assert [each.headers["content-range"] for each in bucket.chunks[:2]] == [
        f"bytes 0-{PART - 1}/*",
        f"bytes {STEP}-{PART - 1}/*",
    ]
    await bucket.finish(upload, parts)
    assert await bucket.get() == DATA


async def test_the_end_too_is_sent_on_from_where_it_was_kept(bucket: Bucket) -> None:
    """All but the last 7 bytes of it."""
    upload = await bucket.start()
    parts = await bucket.send(upload)
    size = len(DATA)
    bucket.proxy.plan(Fault("PUT", status=308, headers={"range": f"bytes=0-{size - 8}"}))
    with pytest.raises(StoreError):  # as it was told something that is not true: the fake has not heard of these bytes
        await bucket.finish(upload, parts)
    assert bucket.chunks[-1].headers["content-range"] == f"bytes {size - 7}-{size - 1}/{size}"
    await bucket.finish(upload, parts)
    assert await bucket.get() == DATA


@pytest.mark.parametrize("headers", [{}, {"range": "bytes=0-99999"}])
async def test_a_service_that_keeps_nothing_is_not_asked_for_ever(bucket: Bucket, headers: dict[str, str]) -> None:
    """Without the header nothing was kept; a start of the chunk is all that may be missing."""
    upload = await bucket.start()
    first = await bucket.store.write_part(upload, 1, DATA[:PART], compute_digests(DATA[:PART]).crc32c)
    bucket.proxy.plan(Fault("PUT", status=308, headers={"range": f"bytes=0-{PART - 1}"}))
    with pytest.raises(StoreUnavailable):
        await bucket.send(upload, first=2)
    bucket.proxy.plan(Fault("PUT", status=308, headers=headers))
    with pytest.raises(UploadGone):  # it has lost what came before
        await bucket.send(upload, first=2)
    await bucket.finish(upload, [first, *await bucket.send(upload, first=2)])
    assert await bucket.get() == DATA


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("PUT", drop_request=2 * STEP + 9), ConnectionLost),
        (Fault("PUT", status=503), StoreUnavailable),
        (Fault("PUT", status=429, headers={"retry-after": "7"}), Throttled),
        (Fault("PUT", cut=0, forward=True), ConnectionLost),
    ],
)
async def test_the_next_worker_resumes_after_the_last_complete_part(
    bucket: Bucket, fault: Fault, error: type[SkyferryError]
) -> None:
    """A part that did not come whole is none."""
    upload = await bucket.start()
    first = await bucket.store.write_part(upload, 1, DATA[:PART], compute_digests(DATA[:PART]).crc32c)
    bucket.proxy.plan(fault)
    with pytest.raises(error) as failed:
        await bucket.send(upload, first=2)
    assert failed.value.outage
    there = await bucket.store.uploaded_parts(upload)
    assert [(part.number, part.size, part.crc32c) for part in there][:1] == [(1, PART, "")]
    assert len(there) == (2 if fault.cut == 0 else 1)
    await bucket.finish(upload, [first, *await bucket.send(upload, first=2)])
    assert await bucket.get() == DATA


async def test_a_part_that_came_half_is_none(gcs: GcsPlace, bucket: Bucket) -> None:
    """The fake itself hears half of it, and keeps whole steps; sent again, these are passed over."""
    there = replace(gcs, options=replace(gcs.options, uploads="resumable")).store(bucket.name)
    straight = replace(bucket, store=there)  # the proxy would send it a second time by itself
    upload = await straight.start()
    await gcs.plan(Fault("PUT", drop_request=2 * STEP + 9))
    with pytest.raises(ConnectionLost):
        await straight.send(upload)
    assert await there.uploaded_parts(upload) == []
    await straight.finish(upload, await straight.send(upload))
    assert await bucket.get() == DATA
    await there.close()
    assert await gcs.pending() == 0


async def test_a_lost_answer_to_the_end_is_asked_for_again(bucket: Bucket) -> None:
    """It is the same object."""
    upload = await bucket.start()
    parts = await bucket.send(upload)
    bucket.proxy.plan(Fault("PUT", cut=10))
    with pytest.raises(ConnectionLost):
        await bucket.finish(upload, parts)
    there = await bucket.store.head("k")
    assert (await bucket.finish(upload, parts, CREATE)).version == there.version
    with pytest.raises(UploadGone):
        await bucket.store.uploaded_parts(upload)
    with pytest.raises(UploadGone):
        await bucket.send(upload)


@pytest.mark.parametrize("status", [404, 410])
async def test_a_session_that_has_ended_is_gone(bucket: Bucket, status: int) -> None:
    upload = await bucket.start()
    for ask in (
        bucket.store.uploaded_parts(upload),
        bucket.send(upload),
        bucket.finish(upload, await bucket.send(upload)),
    ):
        bucket.proxy.plan(Fault("PUT", status=status))
        with pytest.raises(UploadGone):
            await ask
    bucket.proxy.plan(Fault("DELETE", status=status))
    await bucket.store.abort_upload(upload)


async def test_an_upload_is_finished_over_what_it_was_begun_over_and_nothing_else(bucket: Bucket) -> None:
    """What does not hold is refused; what holds, but was not so at the start, has to be begun anew. The object stays."""
    upload = await bucket.start()
    parts = await bucket.send(upload)
    other = await bucket.put(b"other")
    for when, error in (
        (CREATE, PreconditionFailed),
        (Precondition(replace="1"), PreconditionFailed),
        (Precondition(replace=other.version), UploadGone),
        (ANY, UploadGone),
    ):
        with pytest.raises(error):
            await bucket.finish(upload, parts, when)
        assert (await bucket.store.head("k")).version == other.version
    over = await bucket.start()
    parts = await bucket.send(over)
    await bucket.store.delete("k")
    for when, error in (
        (CREATE, UploadGone),
        (Precondition(replace=other.version), PreconditionFailed),
        (ANY, UploadGone),
    ):
        with pytest.raises(error):
            await bucket.finish(over, parts, when)
        with pytest.raises(ObjectNotFound):
            await bucket.store.head("k")


async def test_a_key_that_changes_while_the_upload_begins_is_looked_at_again(bucket: Bucket) -> None:
    """A service may refuse the start already."""
    other = await bucket.put(b"other")
    bucket.proxy.plan(Fault("POST", "uploadType=resumable", status=412))
    upload = await bucket.start()
    await bucket.finish(upload, await bucket.send(upload), Precondition(replace=other.version))
    assert await bucket.get() == DATA
    bucket.proxy.plan(*[Fault("POST", "uploadType=resumable", status=412)] * 10)
    with pytest.raises(StoreUnavailable):
        await bucket.start()


async def test_a_bit_that_flips_on_the_way_is_refused_at_the_end(bucket: Bucket) -> None:
    """By the server, which is told the CRC32C of the whole."""
    upload = await bucket.start()
    bucket.proxy.plan(Fault("PUT", flip_request=1000))
    parts = await bucket.send(upload)
    with pytest.raises(ChecksumMismatch):
        await bucket.finish(upload, parts)
    assert bucket.chunks[-1].status == 400
    with pytest.raises(ObjectNotFound):
        await bucket.store.head("k")


@pytest.mark.parametrize("settings", [{}, KEEPS])
async def test_an_object_that_is_another_is_taken_back_where_it_may_be(gcs: GcsPlace, settings: dict[str, Any]) -> None:
    """A service that does not compare: the answer attests something else. Either way it is no success."""
    async for bucket in opened(gcs, await gcs.bucket(**settings)):
        upload = await bucket.start()
        parts = await bucket.send(upload)
        there = await bucket.finish(upload, parts)
        bucket.proxy.plan(Fault("PUT", status=200, body=OTHER % there.version.encode()))
        with pytest.raises(ChecksumMismatch):
            await bucket.finish(upload, parts)
        assert [meta.key async for meta in bucket.store.list()] == (["k"] if settings else [])


@pytest.mark.parametrize("body", [b"", b"{}", b"not JSON"])
async def test_200_with_something_else_at_the_end_is_not_taken_for_done(bucket: Bucket, body: bytes) -> None:
    upload = await bucket.start()
    parts = await bucket.send(upload)
    bucket.proxy.plan(Fault("PUT", status=200, body=body))
    with pytest.raises(StoreError):
        await bucket.finish(upload, parts)


@pytest.mark.parametrize("headers", [{}, {"location": "https://elsewhere.example/o?name=k"}])
async def test_an_answer_without_a_session_is_an_error(bucket: Bucket, headers: dict[str, str]) -> None:
    bucket.proxy.plan(Fault("POST", status=200, headers=headers))
    with pytest.raises(StoreError, match="JSON API"):
        await bucket.start()


async def test_parts_that_are_no_multiple_of_256_kib_are_refused(bucket: Bucket) -> None:
    """Before anything is asked for, with the setting to change."""
    with pytest.raises(Unsupported, match="multiple") as refused:
        await bucket.start(part_size=PART + 1)
    assert "part_size" in refused.value.hint
    assert bucket.proxy.exchanges == []


async def test_no_error_and_no_noun_shows_the_session(bucket: Bucket) -> None:
    """Who has its id may write; Google sends it as the id of the request, too."""
    upload = await bucket.start()
    [session] = [part[10:] for part in upload.secret.split("&") if part.startswith("upload_id=")]
    shown = [repr(upload), upload.id]
    for status, reason in (
        (400, "invalid"),
        (403, "forbidden"),
        (404, "notFound"),
        (412, "conditionNotMet"),
        (500, "x"),
    ):
        headers = {"x-guploader-uploadid": session}
        body = b'{"error": {"message": "no", "errors": [{"reason": "%b"}]}}' % reason.encode()
        bucket.proxy.plan(Fault("PUT", status=status, headers=headers, body=body))
        with pytest.raises(SkyferryError) as failed:
            await bucket.store.uploaded_parts(upload)
        shown.append(f"{failed.value!r} {failed.value} {failed.value.where} {failed.value.hint}")
    bucket.proxy.plan(Fault("PUT", drop_request=2 * STEP))
    with pytest.raises(ConnectionLost) as lost:
        await bucket.store.write_part(upload, 1, DATA[:PART], "")
    shown.append(f"{lost.value!r} {lost.value}")
    assert not any(session in each for each in shown)
    await bucket.store.abort_upload(upload)


async def test_uploads_of_either_kind_are_given_up_whatever_the_setting_says_now(bucket: Bucket) -> None:
    """Those that are composed are listed, too; neither kind goes on as the other."""
    composed = await bucket.plain.start_upload("composed", len(DATA), PART, BARE)
    await bucket.plain.write_part(composed, 1, DATA[:PART], compute_digests(DATA[:PART]).crc32c)
    session = await bucket.start()
    assert [each.id async for each in bucket.store.uploads()] == [composed.id]
    for store, foreign in ((bucket.store, composed), (bucket.plain, session)):
        with pytest.raises(UploadGone):
            await store.uploaded_parts(foreign)
        await store.abort_upload(foreign)
    for store, mine in ((bucket.plain, composed), (bucket.store, session)):
        with pytest.raises(UploadGone):
            await store.uploaded_parts(mine)


async def test_what_an_object_is_to_carry_is_said_at_the_start(gcs: GcsPlace) -> None:
    """Storage class, metadata, key and payer."""
    key = "projects/p/locations/eu/keyRings/r/cryptoKeys/k"
    options = replace(gcs.options, kms_key=key, billing_project="payer")
    async for bucket in opened(replace(gcs, options=options), await gcs.bucket()):
        given = Attributes(content_type="text/plain", metadata={"a": "\u00fc"}, storage_class="COLDLINE")
        upload = await bucket.store.start_upload("k", len(DATA), PART, given)
        made = await bucket.finish(upload, await bucket.send(upload))
        assert made.attributes == given == (await bucket.store.head("k")).attributes
        assert all("userProject=payer" in each.target for each in bucket.proxy.exchanges)
        [begun] = [each for each in bucket.proxy.exchanges if each.method == "POST"]
        assert "kmsKeyName=projects%2Fp" in begun.target


async def test_a_large_object_arrives_where_nothing_may_be_deleted(kept: Bucket) -> None:
    """And stays, as the policy wants."""
    upload = await kept.start()
    made = await kept.finish(upload, await kept.send(upload), CREATE)
    assert await kept.get() == DATA
    assert [meta.key async for meta in kept.store.list()] == ["k"]
    with pytest.raises(PermissionDenied, match=r"[Hh]old|retention"):
        await kept.store.delete("k", Precondition(replace=made.version))
    with pytest.raises(PermissionDenied, match=r"[Hh]old|retention"):
        await kept.put(b"newer")


async def test_parts_that_could_not_be_deleted_are_not_sent(kept: Bucket) -> None:
    """The first small object tells; the error names the setting."""
    with pytest.raises(Unsupported, match="could not be deleted") as refused:
        await kept.plain.start_upload("k", len(DATA), PART, BARE)
    assert "large_upload_mode: resumable" in refused.value.hint
    assert [each.method for each in kept.proxy.exchanges] == ["POST", "DELETE"]
