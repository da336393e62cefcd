"""Listings that are read by item or by page."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from skyferry.model import ObjectMeta
from skyferry.ports.joins import OrderedListing, paginate
from skyferry.ports.listing import PagedListing, Pages, paged, read_pages

PAGES = ["ab", "", "cde", "f"]


@paged
async def letters(*pages: str, ended: list[str] | None = None) -> Pages[str]:
    try:
        for page in pages:
            yield list(page)
    finally:
        if ended is not None:
            ended.append("closed")


@paged
async def objects(*pages: str) -> Pages[ObjectMeta]:
    for page in pages:
        yield [ObjectMeta(key, 1, "1", 0.0) for key in page]


async def each(text: str) -> AsyncIterator[str]:
    for letter in text:
        yield letter


async def test_a_listing_gives_its_items_or_its_pages() -> None:
    assert [letter async for letter in letters(*PAGES)] == list("abcdef")
    assert [page async for page in read_pages(letters(*PAGES))] == [list(page) for page in PAGES]
    listing = letters(*PAGES)
    assert (await anext(listing), await anext(listing)) == ("a", "b")


async def test_another_iterator_gives_an_item_as_soon_as_it_has_it() -> None:
    assert [page async for page in read_pages(each("ab"))] == [("a",), ("b",)]


@pytest.mark.parametrize("begun", [False, True])
async def test_a_listing_is_closed_with_its_pages(begun: bool) -> None:
    ended: list[str] = []
    listing = letters(*PAGES, ended=ended)
    if begun:
        assert await anext(listing) == "a"
    await listing.aclose()
    assert ended == ["closed"] * begun
    assert [letter async for letter in listing] == []


@pytest.mark.parametrize("size", range(1, 8))
async def test_pages_are_divided_anew(size: int) -> None:
    whole = [list("abcdef"[start : start + size]) for start in range(0, 6, size)]
    assert [page async for page in paginate(letters(*PAGES), size)] == whole
    assert [page async for page in paginate(each("abcdef"), size)] == whole


@pytest.mark.parametrize("pages", [PAGES, ["", "abcdef"], ["abcdef", ""], list("abcdef")])
async def test_keys_are_found_across_pages(pages: list[str]) -> None:
    ordered = OrderedListing(objects(*pages))
    assert [*await ordered.find_all("bdx"[:2])] == ["b", "d"]
    assert [*await ordered.find_all("ddef")] == ["d", "e", "f"]
    assert await ordered.find("g") is None
    await ordered.close()


async def test_an_ordered_listing_closes_the_listing() -> None:
    listing = objects(*PAGES)
    ordered = OrderedListing(listing)
    assert await ordered.find("a") is not None
    await ordered.close()
    assert isinstance(listing, PagedListing)
    assert [page async for page in listing.pages] == []
