"""Listings: sorted, complete, each object once, page by page."""

from __future__ import annotations

import asyncio

from skyferry.testing.store_cases.place import Place, expect, run_together

# '!' '-' '.' sort before '/', '0' after it; what UTF-16 sorts otherwise than UTF-8 is at the end
KEYS = [
    "!",
    "A",
    "a!b",
    "a-b",
    "a.b",
    "a/!",
    "a/b",
    "a/b-c",
    "a/b.c",
    "a/b0",
    "a/c/d",
    "a/c0",
    "a0",
    "aa",
    "b",
    "\u00e9",
]
KEYS += ["\uff5e", "\U0001f600"]


class ListingCases:
    """`list`."""

    async def test_the_order_is_that_of_the_bytes(self, place: Place) -> None:
        """Of UTF-8, whatever the order of writing, folders or not."""
        for key in reversed(KEYS):
            await place.put(key, b"x")
        expect(await place.keys(), sorted(KEYS, key=str.encode))

    async def test_prefix_and_after(self, place: Place) -> None:
        """A prefix is a prefix of the key and knows no slashes; after is exclusive and need not exist."""
        for key in KEYS:
            await place.put(key, b"x")
        marks = ["", "a", "a/", "a/b", "a/b-", "a/c/", "a/c/d", "a/c/e", "a-", "zz", "\u00e9", "a/b-c", "nothing"]
        for prefix in marks:
            for after in marks:
                wanted = [k for k in KEYS if k.startswith(prefix) and k.encode() > after.encode()]
                expect(await place.keys(prefix, after), sorted(wanted, key=str.encode), (prefix, after))

    async def test_nothing_is_nothing(self, place: Place) -> None:
        """An empty bucket lists nothing."""
        expect(await place.keys(), [])

    async def test_it_tells_size_and_version(self, place: Place) -> None:
        """Those that head returns: a read may be pinned to the version of a listing."""
        await place.put("a", b"12345", place.attributes)
        (listed,) = [meta async for meta in place.store.list(place.prefix)]
        head = await place.store.head(place.key("a"))
        expect((listed.key, listed.size, listed.version), (head.key, 5, head.version))
        assert abs(listed.modified - head.modified) <= 1
        expect((await place.store.read(listed.key, 0, 9, version=listed.version)).data, b"12345")

    async def test_more_than_a_page(self, place: Place) -> None:
        """Each object once, in order; it goes on after any of them."""
        keys = [f"{n % 7}/{n:05}" for n in range(place.page)]
        gate = asyncio.Semaphore(32)

        async def put(key: str) -> None:
            async with gate:
                await place.put(key, b"x")

        await run_together(*(put(key) for key in keys))
        keys.sort()
        expect(await place.keys(), keys)
        expect(await place.keys(after=keys[-3]), keys[-2:])
        expect(await place.keys(prefix="3/", after=keys[0]), [key for key in keys if key.startswith("3/")])

    async def test_what_does_not_change_is_seen_once(self, place: Place) -> None:
        """While others come and go."""
        stays = [f"{n:02}/stays" for n in range(20)]
        for key in stays:
            await place.put(key, b"x")
        seen = []
        async for meta in place.store.list(place.prefix):
            key = meta.key[len(place.prefix) :]
            seen.append(key)
            folder = key.split("/", maxsplit=1)[0]
            await place.put(f"{folder}/a-comes", b"x")
            await place.put(f"{folder}/z-comes", b"x")
            await place.store.delete(place.key(f"{folder}/a-comes"))
        expect([key for key in seen if key.endswith("stays")], stays)
        expect(len(seen), len(set(seen)))

    async def test_a_listing_may_be_left(self, place: Place) -> None:
        """Without reading it to the end; the store works on."""
        for n in range(5):
            await place.put(f"k{n}", b"x")
        async for meta in place.store.list(place.prefix):
            expect(meta.key, place.key("k0"))
            break
        expect(len(await place.keys()), 5)
