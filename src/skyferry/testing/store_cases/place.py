"""The place where the store suite runs, and helpers that its cases share. Needs no test framework."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import field, fields, is_dataclass, replace
from typing import Any, TypeVar

from skyferry import crcs
from skyferry.errors import SkyferryError, StoreUnavailable
from skyferry.frozen import dataclass
from skyferry.model import UNPLAIN, Attributes, Checksums, ObjectMeta
from skyferry.ports import ANY, ObjectStore, Part, Precondition, Upload

T = TypeVar("T")
EVERYTHING = Attributes(
    content_type="text/plain; charset=utf-8",
    content_encoding="gzip",
    content_language="de",
    content_disposition='attachment; filename="x y.txt"',
    cache_control="no-store",
    metadata={"plain": "a  b", "other": "\u00fcn\u00efcode \u2603", "number": "1", "with-dash": "skyferry"},
    tags={"two words": "v+1", "b": "x"},
)
BARE = Attributes()
SHOWN, LONG = 64, 300  # bytes and characters of a value in a failure
PART = 64 * 2**10  # bytes, where the store takes parts that small


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket, or a part of one, that is empty and reserved for one case."""

    store: ObjectStore
    prefix: str = ""  # begins every key; "" = the whole bucket is reserved
    other: ObjectStore | None = None  # another client of the same bucket
    nowhere: ObjectStore | None = None  # a client of a bucket that does not exist
    attributes: Attributes = EVERYTHING  # what the store can carry
    cannot_hold: Mapping[str, str] = field(default_factory=dict)  # key of a case -> why it MUST be refused
    page: int = 1005  # objects that are more than a page of a listing

    def key(self, text: str) -> str:
        """Return the key with the prefix."""
        return self.prefix + text

    async def put(self, text: str, data: bytes, attributes: Attributes = BARE, when: Precondition = ANY) -> ObjectMeta:
        """Write an object."""
        return await self.store.write(self.key(text), data, attributes, compute_digests(data), when)

    async def get(self, text: str) -> bytes:
        """Read a small object."""
        return (await self.store.read(self.key(text), 0, 2**24)).data

    async def keys(self, prefix: str = "", after: str = "") -> list[str]:
        """List the keys without the prefix, sorted if the store promises no order."""
        start = len(self.prefix)
        found = [meta.key[start:] async for meta in self.store.list(self.key(prefix), self.key(after) if after else "")]
        order = self.store.traits.order
        return found if order == "bytes" or (order == "plain" and not UNPLAIN.search("".join(found))) else sorted(found)

    @property
    def part_size(self) -> int:
        """Bytes."""
        return max(PART, self.store.traits.min_part)

    async def start(self, text: str, data: bytes, attributes: Attributes = BARE) -> Upload:
        """Begin an upload of these bytes."""
        return await self.store.start_upload(self.key(text), len(data), self.part_size, attributes)

    async def send(self, upload: Upload, data: bytes) -> list[Part]:
        """Send all parts, in order."""
        return [await self.store.write_part(upload, n, piece, crc) for n, piece, crc in split_parts(upload, data)]


async def retry_unavailable(call: Callable[[], Awaitable[T]]) -> T:
    """Return the result of a call, which is retried while the store is unavailable, as the engine does."""
    for _ in range(5):
        with suppress(StoreUnavailable):
            return await call()
    return await call()


def split_parts(upload: Upload, data: bytes) -> list[tuple[int, bytes, str]]:
    """Return number, bytes and CRC32C of each part."""
    size = upload.part_size
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return [(number, piece, compute_digests(piece).crc32c) for number, piece in enumerate(parts, 1)]


def compute_digests(data: bytes) -> Checksums:
    """Return all digests that a caller may know of a body."""
    return Checksums(
        crc32c=f"{crcs.crc32c(data):08x}",
        sha256=hashlib.sha256(data).hexdigest(),
        md5=hashlib.md5(data, usedforsecurity=False).hexdigest(),
        crc64nvme=f"{crcs.crc64nvme(data):016x}",
    )


def select_checksum(name: str, checksums: Checksums) -> Checksums:
    """Return the checksums with one digest only."""
    return replace(Checksums(), **{name: getattr(checksums, name)})


def make_noise(size: int, seed: int = 0) -> bytes:
    """Return bytes without a pattern, the same for the same seed."""
    return hashlib.shake_128(seed.to_bytes(8, "big")).digest(size)


def expect(came: object, expected: object, what: object = "") -> None:
    """Assert that two values are equal. The failure has both, for it is read without the code."""
    if came != expected:
        subject = f"{_shorten(what)}: " if what else ""
        raise AssertionError(subject + "; ".join(_describe_difference(came, expected)))


def expect_agreement(came: Checksums, expected: Checksums) -> None:
    """Assert that no digest that both sides know differs."""
    if name := came.find_conflict(expected):
        said = f"expected the {name} {getattr(expected, name)}, but {getattr(came, name)} came"
        raise AssertionError(said)


def _describe_difference(came: object, expected: object, path: str = "") -> Iterator[str]:
    """Yield what was expected and what came, for records only of the fields that differ."""
    if is_dataclass(expected) and type(came) is type(expected):
        for each in fields(expected):
            actual, wanted = getattr(came, each.name), getattr(expected, each.name)
            if actual != wanted:
                yield from _describe_difference(actual, wanted, f"{path}.{each.name}" if path else each.name)
    else:
        place = f"{path}: " if path else ""
        yield f"{place}expected {_shorten(expected)}, but {_shorten(came)} came"


def _shorten(value: object) -> str:
    """Return the value as text; of long bytes their number and the beginning."""
    if isinstance(value, bytes) and len(value) > SHOWN:
        return f"{len(value):,} bytes that begin with {value[: SHOWN // 2]!r}"
    text = repr(value)
    return text if len(text) <= LONG else f"{text[:LONG]}…"


@contextmanager
def expect_error(*errors: type[SkyferryError], what: object = "it") -> Iterator[None]:
    """Assert that the block raises one of these."""
    names = " or ".join(error.__name__ for error in errors)
    subject = f"{what!r}: " if what != "it" else ""
    try:
        yield
    except errors:
        return
    except SkyferryError as other:
        raise AssertionError(f"{subject}expected {names}, but {type(other).__name__} came: {other}") from other
    raise AssertionError(f"{subject}expected {names}, but the store accepted it")


async def run_together(*calls: Coroutine[Any, Any, T]) -> list[T]:
    """Return all results, or raise the first failure once all the others have ended, so that none outlives its case."""
    tasks = [asyncio.create_task(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
