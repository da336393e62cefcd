"""Listings, which are read object by object, or by page at a fraction of the cost."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
Pages = AsyncGenerator[Sequence[T], None]


class PagedListing(AsyncIterator[T]):
    """The items of `pages`. A caller reads either these or the pages; a page may be empty."""

    def __init__(self, pages: Pages[T]) -> None:
        self.pages = pages
        self._items = _iterate(pages)

    def __aiter__(self) -> AsyncIterator[T]:
        return self._items

    def __anext__(self) -> Awaitable[T]:
        return self._items.__anext__()

    async def aclose(self) -> None:
        """End the listing early."""
        await self._items.aclose()
        await self.pages.aclose()


def paged(function: Callable[P, Pages[T]]) -> Callable[P, PagedListing[T]]:
    """Make a function that yields pages return a listing."""

    @wraps(function)
    def list_items(*args: P.args, **kwargs: P.kwargs) -> PagedListing[T]:
        return PagedListing(function(*args, **kwargs))

    return list_items


def read_pages(items: AsyncIterator[T]) -> AsyncIterator[Sequence[T]]:
    """Return the pages of a listing. Any other iterator gives pages of one item, as soon as it has the item."""
    return items.pages if isinstance(items, PagedListing) else _separate(items)


async def _iterate(pages: Pages[T]) -> AsyncGenerator[T, None]:
    async for page in pages:
        for item in page:
            yield item


async def _separate(items: AsyncIterator[T]) -> AsyncIterator[Sequence[T]]:
    async for item in items:
        yield (item,)
