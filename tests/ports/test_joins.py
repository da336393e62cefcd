"""A listing and the ledger are joined by key, in few queries, and whatever the order of the listing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from skyferry.errors import ObjectNotFound, StoreUnavailable
from skyferry.model import ObjectMeta, ObjectRef, Placement, Provider
from skyferry.ports.joins import AT_ONCE, OrderedListing, find_placements, has_copy, map_keys, paginate

SOURCE = ObjectRef(Provider.AWS_S3, "photos", "a")


async def listing(*keys: str) -> AsyncIterator[ObjectMeta]:
    for key in keys:
        yield ObjectMeta(key, len(key), "v", 0.0)


def placement(version: str, *, deleted: bool = False, identity: str = "") -> Placement:
    source = ObjectRef(SOURCE.provider, SOURCE.bucket, SOURCE.key, version=version)
    return Placement("to", "a", source, deleted, (), 0.0, "v", "id", 0.0, identity)


@pytest.mark.parametrize(("count", "pages"), [(0, []), (2, [2]), (4, [2, 2]), (5, [2, 2, 1])])
async def test_no_page_is_longer_and_none_is_empty(count: int, pages: list[int]) -> None:
    assert [len(page) async for page in paginate(listing(*"abcde"[:count]), 2)] == pages


async def test_placements_are_found_with_one_query_for_each_store() -> None:
    queries: list[tuple[str, list[str]]] = []

    class Ledger:
        async def get_placements(self, store: str, keys: Sequence[str]) -> list[Placement | None]:
            queries.append((store, list(keys)))
            return [placement(key) if key != "b" else None for key in keys]

        async def find_current(
            self, store: str, source: ObjectRef, listed: Sequence[tuple[ObjectMeta, str]]
        ) -> set[str]:
            raise NotImplementedError

        def list_placements(self, store: str, source: str, after: str = "") -> AsyncIterator[Placement]:
            raise NotImplementedError

    found = await find_placements(Ledger(), [("x", "a"), ("y", "a"), ("x", "b"), ("x", "a")])
    assert queries == [("x", ["a", "b"]), ("y", ["a"])]
    assert found == {("x", "a"): placement("a"), ("y", "a"): placement("a"), ("x", "b"): None}


@pytest.mark.parametrize(
    ("known", "version", "identities", "copied"),
    [
        (None, "1", (), False),
        (placement("1"), "1", (), True),
        (placement("1"), "2", (), False),
        (placement("1", deleted=True), "1", (), False),
        (placement("1", identity="here"), "1", ("here", "there"), True),
        (placement("1", identity="elsewhere"), "1", ("here",), False),
        (placement('id "etag"'), '"etag"', (), True),
        (placement("id etag"), "etag", (), False),
    ],
)
def test_a_placement_is_compared_with_a_listed_version(
    known: Placement | None, version: str, identities: tuple[str, ...], copied: bool
) -> None:
    assert has_copy(known, SOURCE, version, identities) is copied


@pytest.mark.parametrize(
    ("bucket", "key", "copied"), [("photos", "a", True), ("photos", "b", False), ("videos", "a", False)]
)
def test_a_copy_of_another_key_or_bucket_is_none(bucket: str, key: str, copied: bool) -> None:
    assert has_copy(placement("1"), ObjectRef(Provider.AWS_S3, bucket, key), "1") is copied
    assert has_copy(placement("1"), ObjectRef(Provider.AWS_S3, bucket, ""), "1", key=key) is copied


async def test_a_listing_is_read_once_and_only_on_demand() -> None:
    read: list[str] = []

    async def keys() -> AsyncIterator[ObjectMeta]:
        async for meta in listing("a", "c", "b", "d"):
            read.append(meta.key)
            yield meta

    ordered = OrderedListing(keys())
    assert await ordered.find_all([]) == {}
    assert read == []
    found = [await ordered.find(key) for key in ("a", "a", "aa", "c")]
    assert [meta.key if meta else None for meta in found] == ["a", "a", None, "c"]
    assert read == ["a", "c"]
    assert await ordered.find("cc") is None  # b is out of order, and skipped
    await ordered.close()
    assert await ordered.find("d") is not None
    assert await ordered.find("e") is None


@pytest.mark.parametrize("split", range(6))
async def test_keys_are_found_together_as_one_by_one(split: int) -> None:
    """Also where a page ends between two of them, and out of order."""
    keys, listed = ["a", "a", "aa", "c", "e"], "acbef"
    one, several = OrderedListing(listing(*listed)), OrderedListing(listing(*listed))
    alone = {key: meta for key in keys if (meta := await one.find(key))}
    assert list(alone) == ["a", "c", "e"]
    assert await several.find_all(keys[:split]) | await several.find_all(keys[split:]) == alone


async def test_keys_are_looked_at_concurrently_within_a_limit() -> None:
    running = most = 0

    async def look(key: str) -> str:
        nonlocal running, most
        running, most = running + 1, max(most, running + 1)
        await asyncio.sleep(0)
        running -= 1
        return key.upper()

    keys = [f"k{number}" for number in range(3 * AT_ONCE)]
    assert await map_keys(keys, look) == [key.upper() for key in keys]
    assert most == AT_ONCE


async def test_the_first_error_is_raised_as_it_is() -> None:
    async def look(key: str) -> None:
        raise StoreUnavailable("down") if key == "b" else ObjectNotFound(key)

    with pytest.raises((StoreUnavailable, ObjectNotFound)):
        await map_keys(["a", "b"], look)
