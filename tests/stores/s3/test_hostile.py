"""Answers that no S3 service should send, from a scripted server: none of them loses, cuts or removes an object.

No emulator sends them. Proxies, portals and young services do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.stores.scripted_server import Answer, serve_script, write_answer

from skyferry.clouds.credentials import S3Credentials, fixed_credentials
from skyferry.errors import InvalidKey, SkyferryError, StoreError
from skyferry.model import Attributes, Checksums
from skyferry.ports import Part, Upload
from skyferry.stores.s3.client import S3Options
from skyferry.stores.s3.store import S3Store

NAMED: Any = {"etag": '"0123-2"', "last-modified": "Mon, 30 Nov 2026 09:00:00 GMT"}
DATA = b"0123456789"
SERVICES = pytest.mark.parametrize("service", ["aws", "other"])
UPLOAD = Upload("u", "k", 10, 5 * 2**20, Attributes(), 0.0)
PART = Part(1, 0, 10, '"781e5e245d69b566979b86e28d23f2c7"', "280c069e")


@asynccontextmanager
async def serve(answer: Answer, service: str = "aws") -> AsyncIterator[tuple[S3Store, list[str]]]:
    """Serve the script. Yield a store there, and the requests."""
    async with serve_script(answer) as (url, seen):
        keys = fixed_credentials(S3Credentials("key", "secret"))
        store = S3Store("s", "b", keys, S3Options(service, url, read_timeout=5.0))
        try:
            yield store, seen
        finally:
            await store.close()


def item(key: str, **changes: str | None) -> str:
    """Write an object of a listing."""
    fields = {"Key": key, "LastModified": "2026-01-01T00:00:00.000Z", "Size": "1", "ETag": '"e"', **changes}
    return f"<Contents>{''.join(f'<{n}>{v}</{n}>' for n, v in fields.items() if v is not None)}</Contents>"


def page(*items: str, token: str = "", truncated: str = "", count: int | str = "") -> bytes:
    """Write a page of a listing. It is truncated if it has a token, unless `truncated` says otherwise."""
    truncated = truncated or ("true" if token else "")
    fields = {"KeyCount": str(count), "IsTruncated": truncated, "NextContinuationToken": token}
    more = "".join(f"<{n}>{v}</{n}>" for n, v in fields.items() if v)
    return write_answer(200, f"<ListBucketResult>{''.join(items)}{more}</ListBucketResult>".encode())


@SERVICES
@pytest.mark.parametrize(
    "change", [{"LastModified": None}, {"LastModified": "yesterday"}, {"Size": "many"}, {"Key": None}]
)
async def test_an_object_that_cannot_be_read_is_no_crash_and_not_left_out(
    service: str, change: dict[str, str | None]
) -> None:
    async with serve(lambda *_: page(item("a"), item("b", **change)), service) as (store, _):
        with pytest.raises(StoreError, match="cannot be read"):
            assert [found.key async for found in store.list()] == []


@SERVICES
async def test_a_key_outside_the_prefix_ends_the_listing(service: str) -> None:
    """Taken without the prefix, it would be another key, which `copy --delete` would delete: the source has no such object."""
    async with serve(lambda *_: page(item("p/a"), item("quite/another")), service) as (store, _):
        with pytest.raises(StoreError, match="'quite/another', which does not begin with 'p/'"):
            assert [found.key async for found in store.list("p/")] == []


@pytest.mark.parametrize(("before", "length"), [(0, 2), (3, 2), (5, 7)])
async def test_a_listing_in_a_circle_ends(before: int, length: int) -> None:
    """Its tokens are always new, so only the pages repeat."""
    seen: list[str] = []

    def circle(_: str, target: str, __: Mapping[str, str]) -> bytes:
        number = len(seen)
        seen.append(target)
        at = number if number < before else before + (number - before) % length
        return page(item(f"{at:03}"), token=f"t{number}")

    async with serve(circle) as (store, _):
        with pytest.raises(StoreError, match="repeats a page"):
            assert [meta.key async for meta in store.list()] == []
    assert before + length < len(seen) <= 3 * max(before, length) + length


@SERVICES
async def test_a_page_that_is_not_truncated_but_has_a_token_is_not_the_last_one(service: str) -> None:
    """The objects of later pages would be left out, and `copy` would say that all have arrived."""
    pages = [
        page(item("a"), token="one", truncated="false"),
        page(item("b"), token="two", truncated="false"),
        page(token="three", truncated="false", count=0),
    ]
    async with serve(lambda *_: pages.pop(0), service) as (store, seen):
        assert [meta.key async for meta in store.list()] == ["a", "b"]
    assert ["one" in seen[1], "two" in seen[2]] == [True, True]


async def test_a_token_that_leads_to_the_same_page_is_an_error_even_if_it_is_not_truncated() -> None:
    async with serve(lambda *_: page(item("a"), token="t", truncated="false")) as (store, _):
        with pytest.raises(StoreError, match="repeats a page"):
            assert [meta.key async for meta in store.list()] == []


@SERVICES
@pytest.mark.parametrize(("rows", "count"), [((), 1), (("a",), 2), (("a", "b"), 1000)])
async def test_a_page_with_fewer_objects_than_it_counts_ends_the_listing(
    service: str, rows: tuple[str, ...], count: int
) -> None:
    async with serve(lambda *_: page(*map(item, rows), truncated="false", count=count), service) as (store, _):
        with pytest.raises(StoreError, match=f"has {len(rows)} of {count} objects"):
            assert [meta.key async for meta in store.list()] == []


@pytest.mark.parametrize("count", ["", "0", "1", "many"])
async def test_a_page_may_count_fewer_objects_than_it_has(count: str) -> None:
    """SeaweedFS has counted none, OpenStack Swift does not count."""
    async with serve(lambda *_: page(item("a"), item("b"), count=count)) as (store, _):
        assert [meta.key async for meta in store.list()] == ["a", "b"]


async def test_empty_pages_without_an_end_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has another token, so no page is repeated. Some empty pages in succession are no fault."""
    monkeypatch.setattr("skyferry.stores.paging.EMPTY_MAX", 6)
    seen: list[str] = []

    def answer(_: str, target: str, __: Mapping[str, str]) -> bytes:
        seen.append(target)
        return page(*map(item, rows.get(len(seen), ())), token=f"t{len(seen)}")

    rows = {6: ("a",), 12: ("b",)}
    async with serve(answer) as (store, _):
        with pytest.raises(StoreError, match="6 empty pages in succession"):
            async for _meta in store.list():
                pass
    assert len(seen) == 18


UNSIZED = {
    "a range of an unknown whole": write_answer(206, DATA, content_range="bytes 0-9/*", **NAMED),
    "a range of no place": write_answer(206, DATA, **NAMED),
    "a body that ends with the connection": write_answer(200, DATA, length=None, **NAMED),
    "no content": write_answer(204, **NAMED),
    "more than can be": write_answer(206, DATA, content_range=f"bytes 0-9/{10**23}", **NAMED),
}


@SERVICES
@pytest.mark.parametrize("answer", UNSIZED.values(), ids=UNSIZED.keys())
async def test_a_part_of_an_object_does_not_pass_for_the_whole(service: str, answer: bytes) -> None:
    """Its ETag is that of parts, so no digest of the source would show the difference."""
    async with serve(lambda *_: answer, service) as (store, _):
        with pytest.raises(StoreError, match="how large"):
            await store.read("k", 0, 10)


async def test_an_answer_to_a_head_without_a_length_is_no_empty_object() -> None:
    def compressing(method: str, _: str, headers: Mapping[str, str]) -> bytes:
        if method == "HEAD":
            return write_answer(200, length=None, **NAMED)
        ends = headers["range"].removeprefix("bytes=").split("-")
        data = DATA[int(ends[0]) : int(ends[1]) + 1]
        return write_answer(206, data, content_range=f"bytes {ends[0]}-{len(data) - 1}/10", **NAMED)

    async with serve(compressing) as (store, _):
        assert (await store.head("k")).size == 10
        got = await store.read("k", 0, 100)
        assert (got.meta.size, got.data) == (10, DATA)


async def test_two_sizes_of_one_version_are_not_believed() -> None:
    """With the size of the HEAD, the object would be read again and again, or be cut."""

    def doubtful(method: str, *_: Any) -> bytes:
        if method == "HEAD":
            return write_answer(200, length=4, **NAMED)
        return write_answer(206, DATA, content_range="bytes 0-9/10", **NAMED)

    async with serve(doubtful) as (store, _):
        with pytest.raises(StoreError, match="two sizes"):
            await store.read("k", 0, 10)


@SERVICES
@pytest.mark.parametrize(
    "body", [b"<InitiateMultipartUploadResult/>", b"<Error><Code>InternalError</Code></Error>", b"<html>Sign in</html>"]
)
async def test_a_part_is_not_sent_without_an_upload(service: str, body: bytes) -> None:
    """A service without uploads takes a PUT with an empty id for one of the object, and replaces it by the part."""
    async with serve(lambda *_: write_answer(200, body), service) as (store, seen):
        with pytest.raises(StoreError, match="names no upload"):
            await store.start_upload("k", 10, 5 * 2**20, Attributes())
        assert len(seen) == 1


@SERVICES
async def test_the_page_of_a_portal_completes_no_upload(service: str) -> None:
    """The object from before is not looked at: it would be taken for a wrong copy, and deleted."""
    async with serve(lambda *_: write_answer(200, b"<html>Sign in</html>"), service) as (store, seen):
        with pytest.raises(StoreError, match="names no object"):
            await store.finish_upload(UPLOAD, [PART], Checksums(crc32c=PART.crc32c))
        assert len(seen) == 1


@SERVICES
@pytest.mark.parametrize("status", [200, 202])
async def test_the_page_of_a_portal_deletes_nothing(service: str, status: int) -> None:
    """S3 confirms a delete by an empty answer. The transfer of a delete would be done, and the object still there."""
    async with serve(lambda *_: write_answer(status, b"<html>Sign in</html>"), service) as (store, _):
        with pytest.raises(StoreError, match="the answer to the delete is not that of the service"):
            await store.delete("k")


@SERVICES
async def test_a_key_that_is_not_utf_8_is_refused_by_itself(service: str) -> None:
    """Its neighbours are listed, and it is not taken for a key with replacement characters, which may exist as well."""
    found = f"<EncodingType>url</EncodingType>{item('a')}{item('%FF.txt')}{item('%EF%BF%BD.txt')}"
    body = f"<ListBucketResult>{found}</ListBucketResult>".encode()
    async with serve(lambda *_: write_answer(200, body), service) as (store, seen):
        keys = [each.key async for each in store.list()]
        assert keys == ["a", "\udcff.txt", "\ufffd.txt"]
        for call in (store.read(keys[1], 0, 9), store.head(keys[1]), store.delete(keys[1])):
            with pytest.raises(InvalidKey, match="the key is no Unicode"):
                await call
        assert len(seen) == 1


async def _uploads(store: S3Store) -> None:
    assert [upload.id async for upload in store.uploads()] == []


async def _parts(store: S3Store) -> None:
    await store.uploaded_parts(UPLOAD)


GARBAGE = {
    "a part without a number": (_parts, "<R><Part><PartNumber>one</PartNumber></Part></R>"),
    "an upload without a time": (_uploads, "<ListMultipartUploadsResult><Upload/></ListMultipartUploadsResult>"),
}


@pytest.mark.parametrize(("ask", "body"), GARBAGE.values(), ids=GARBAGE.keys())
async def test_what_cannot_be_read_is_an_error_of_the_store(
    ask: Callable[[S3Store], Awaitable[None]], body: str
) -> None:
    async with serve(lambda *_: write_answer(200, body.encode())) as (store, _):
        with pytest.raises(StoreError, match="cannot be read"):
            await ask(store)


async def test_tags_that_another_server_answers_are_not_taken_for_none() -> None:
    def tagless(method: str, target: str, _: Mapping[str, str]) -> bytes:
        if "tagging" in target:
            return write_answer(200, b"<html>Sign in</html>")
        return write_answer(200, length=10, x_amz_tagging_count="2", **NAMED)

    async with serve(tagless) as (store, _):
        with pytest.raises(StoreError, match="no tags"):
            await store.head("k")


@SERVICES
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_another_host_gets_no_request(service: str, status: int) -> None:
    """The request is signed; its credentials are for this endpoint."""
    reached: list[str] = []

    def foreign(method: str, target: str, _: Mapping[str, str]) -> bytes:
        reached.append(target)
        return write_answer(200, DATA, **NAMED)

    async with serve_script(foreign) as (elsewhere, _):
        answer = write_answer(status, location=f"{elsewhere}/b/k")
        async with serve(lambda *_: answer, service) as (store, _):
            for request in (store.head("k"), store.read("k", 0, 5), store.delete("k")):
                with pytest.raises(SkyferryError):
                    await request
    assert reached == []
