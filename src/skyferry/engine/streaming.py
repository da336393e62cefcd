"""Write an object of unknown size from a stream, and read one into a stream. Both are verified; memory is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from skyferry.engine.copy.digests import PartDigests, compute_digests
from skyferry.engine.copy.verify import digest_returned, digests_to_verify, verify_destination
from skyferry.errors import ChecksumMismatch, StoreError, Unsupported
from skyferry.model import Attributes, ObjectMeta, Part, Upload
from skyferry.ports import ObjectStore, Offload
from skyferry.tasks.group import TaskGroup

PART = 16 * 2**20  # bytes of a part: with 10,000 parts, an object has at most 156 GiB
AT_ONCE = 4  # parts in flight, if the store takes them in any order
PIECE = 8 * 2**20  # bytes of one read
Read = Callable[[int], Awaitable[bytes]]  # returns exactly that many bytes, or fewer at the end


async def write_stream(
    store: ObjectStore, key: str, read: Read, attributes: Attributes, offload: Offload
) -> ObjectMeta:
    """Write what `read` returns as one object, whatever was there before. Raises StoreError; then nothing is visible."""
    kinds = digest_returned(store.traits)
    first = await read(PART)
    second = await read(PART) if len(first) == PART else b""
    if not second:
        sums = await compute_digests(first, offload, kinds)
        made = await store.write(key, first, attributes, sums)
        await verify_destination(store, key, len(first), sums, made)
        return made
    upload = await store.start_upload(key, PART + len(second), PART, attributes)
    stream = _PartStream(store, upload, PartDigests(offload, kinds), read)
    try:
        parts = await stream.send(first, second)
        sums, whole = stream.digests.result(), replace(upload, size=stream.size)
        made = await store.finish_upload(whole, parts, sums)
    except BaseException:
        with suppress(StoreError):
            await asyncio.shield(store.abort_upload(upload))
        raise
    await verify_destination(store, key, stream.size, sums, made)
    return made


class _PartStream:
    """The parts of one upload. A part is sent once the next one is read: stores treat the last part differently."""

    def __init__(self, store: ObjectStore, upload: Upload, digests: PartDigests, read: Read) -> None:
        self.digests, self.size = digests, 0
        self._store, self._upload, self._read = store, upload, read
        self._gate = asyncio.Semaphore(AT_ONCE if store.traits.parallel_parts else 1)

    async def send(self, data: bytes, following: bytes) -> list[Part]:
        """Send these two parts and all that can be read after them."""
        tasks: list[asyncio.Task[Part]] = []
        async with TaskGroup() as group:
            while data:
                if len(tasks) == self._store.traits.max_parts:
                    hint = f"split it: this store takes {self._store.traits.max_parts:,} parts of {PART // 2**20} MiB"
                    raise Unsupported("the stream is too long for one object", where=self._upload.key, hint=hint)
                await self._gate.acquire()
                self.size += len(data)
                # An upload has a size. Until the end of the stream is known, there is always one more part.
                upload = replace(self._upload, size=self.size + (PART if following else 0))
                number = len(tasks) + 1
                tasks.append(group.create_task(self._send(upload, number, data), name=f"part {number}"))
                data, following = following, await self._read(PART) if len(following) == PART else b""
        return [task.result() for task in tasks]

    async def _send(self, upload: Upload, number: int, data: bytes) -> Part:
        try:
            crc32c = await self.digests.add(number, data)
            return await self._store.write_part(upload, number, data, crc32c)
        finally:
            self._gate.release()


async def read_stream(store: ObjectStore, key: str, offload: Offload) -> AsyncIterator[bytes]:
    """Yield the content of one version; the next piece is read meanwhile.

    Raises ChecksumMismatch after the last piece if the store declares another checksum; StoreError.
    """
    meta = await store.head(key)
    digests = PartDigests(offload, digests_to_verify(meta.checksums))

    async def read(start: int) -> bytes:
        return (await store.read(key, start, PIECE, version=meta.version)).data

    reading = asyncio.create_task(read(0), name="read ahead")
    try:
        for number, start in enumerate(range(0, meta.size, PIECE), 1):
            data = await reading
            reading = asyncio.create_task(read(start + PIECE), name="read ahead")
            await digests.add(number, data)
            yield data
    finally:
        reading.cancel()
        await asyncio.wait([reading])
        if not reading.cancelled():
            reading.exception()  # of a read whose result is not needed
    if wrong := digests.result().find_conflict(meta.checksums):
        raise ChecksumMismatch(
            f"{wrong} of the bytes read is not the one that the store declares",
            where=f"{store.name} {key}",
            hint="discard the output",
        )
