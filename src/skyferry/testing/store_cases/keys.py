"""Keys are bytes of UTF-8 and nothing else: no path, no pattern, no case, no normal form."""

from __future__ import annotations

from skyferry.errors import InvalidKey
from skyferry.model import Attributes
from skyferry.testing.store_cases.place import Place, compute_digests, expect, expect_error

AWKWARD = (
    *("a b", " lead", "trail ", "a+b", "a%20b", "a%2Fb", "%", "%%", "%.", "%..", "%%..", "50%", "q?a=b&c#d"),
    *("\u00fc/\u2603", "u\u0308", "\U0001f600", "\u202e\u200b", "\ufeff", "\uffff", "\u0130", "\u017f"),
    *("a//b", "trail/", "two//", "dot/./x", "dot/../y", "dots/...", "end.", "-rf", "~", "*", "[a-z]", "$HOME", "`id`"),
    *("quo'\"t<>", "tab\there", "control\x01", "line\nbreak", "carriage\rreturn", "back\\slash", "C:\\x", "a:b", "|&;"),
    *(".skyferry/lock", "x/.skyferry", ".SKYFERRY/x", "%.skyferry", ".s\u212ayferry", "con", "nul.txt", ".hidden"),
    *("deep/" * 60 + "x", "x" * 255, "\u20ac" * 85, "%" * 255),
)
AT_THE_START = (
    "/",
    "//",
    "///x",
    "/lead",
    ".",
    "..",
    "...",
    "./x",
    "../x",
    "../../etc/passwd",
    "x/../../../y",
    ".skyferry",
)
IMPOSSIBLE = ("", "x" * 1025, "x" * 1024 + "\u00e9", "\ud800", "nul\0inside")


def make_longest_key(room: int) -> str:
    """Return a key of this many bytes, in parts that a filesystem can store."""
    return ("/".join("x" * 200 for _ in range(room // 200 + 1)))[: room - 1] + "y"


def list_awkward_keys(place: Place) -> list[str]:
    """All, but for those that need the whole bucket."""
    room = 1024 - len(place.prefix.encode())
    return [*AWKWARD, make_longest_key(room), "y" * room, *(AT_THE_START if not place.prefix else ())]


class KeyCases:
    """Keys that are stored, and keys that are refused."""

    async def test_awkward_keys_name_one_object_each(self, place: Place) -> None:
        """It is written, found, read, listed and deleted under exactly this key."""
        for key in list_awkward_keys(place):
            if key in place.cannot_hold:
                continue
            data = key.encode()
            await place.put(key, data, place.attributes)
            expect(await place.get(key), data, key)
            expect((await place.store.head(place.key(key))).key, place.key(key))
            expect(await place.keys(), [key], key)
            expect(await place.keys(prefix=key), [key])
            await place.store.delete(place.key(key))
            expect(await place.keys(), [], key)

    async def test_awkward_keys_do_not_disturb_each_other(self, place: Place) -> None:
        """All of them at the same time; each keeps its content."""
        held = [
            key
            for key in [*AWKWARD, make_longest_key(1024 - len(place.prefix.encode()))]
            if key not in place.cannot_hold
        ]
        for key in held:
            await place.put(key, key.encode())
        expect(await place.keys(), sorted(held, key=str.encode))
        for key in held:
            expect(await place.get(key), key.encode(), key)

    async def test_a_key_and_one_below_it(self, place: Place) -> None:
        """`a` and `a/b` are two objects."""
        for key in ("a", "a/b", "a/b/c", "a/"):
            await place.put(key, key.encode())
        expect(await place.keys(), ["a", "a/", "a/b", "a/b/c"])

    async def test_what_cannot_be_a_key_is_refused(self, place: Place) -> None:
        """By every method, before any effect."""
        for key in IMPOSSIBLE if not place.prefix else (*("x" * 1025, "\ud800"),):
            await self._refused(place, place.key(key))
        expect(await place.keys(), [])

    async def test_what_it_cannot_hold_is_refused(self, place: Place) -> None:
        """A key that only this store cannot hold: InvalidKey, before any effect."""
        for key in place.cannot_hold:
            await self._refused(place, place.key(key))
        expect(await place.keys(), [])

    async def _refused(self, place: Place, key: str) -> None:
        store = place.store
        with expect_error(InvalidKey, what=key):
            await store.head(key)
        with expect_error(InvalidKey, what=key):
            await store.read(key, 0, 1)
        with expect_error(InvalidKey, what=key):
            await store.write(key, b"x", Attributes(), compute_digests(b"x"))
        with expect_error(InvalidKey, what=key):
            await store.start_upload(key, 1, place.part_size, Attributes())
        with expect_error(InvalidKey, what=key):
            await store.delete(key)
