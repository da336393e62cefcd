"""Bases for decorators of ports: each forwards every method of its port once, so that a subclass writes only its own trade."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Literal, TypeVar

from skyferry.bodies import StreamedBody
from skyferry.frozen import dataclass
from skyferry.model import Attributes, Checksums, ObjectMeta, Part, QueueTraits, Upload
from skyferry.ports.queue import Depth, EventQueue, Message, Outgoing
from skyferry.ports.store import ANY, CopySource, ObjectData, ObjectStore, Precondition

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Operation:
    """A kind of request to a store."""

    name: str  # the method of the port
    side: Literal["look", "read", "write"]  # each fails separately: a full disk still reads, a stalled one still looks
    sends: bool = False  # object data go to the store


HEAD = Operation("head", "look")
READ = Operation("read", "read")
WRITE = Operation("write", "write", sends=True)
WRITE_STREAM = Operation("write_stream", "write", sends=True)
START_UPLOAD = Operation("start_upload", "write")
WRITE_PART = Operation("write_part", "write", sends=True)
FINISH_UPLOAD = Operation("finish_upload", "write")
ABORT_UPLOAD = Operation("abort_upload", "write")
UPLOADED_PARTS = Operation("uploaded_parts", "look")
COPY_FROM = Operation("copy_from", "write")
COPY_PART = Operation("copy_part", "write")
SET_ATTRIBUTES = Operation("set_attributes", "write")
MAKE_FOLDER = Operation("make_folder", "write")
DELETE = Operation("delete", "write")


class StoreDecorator:
    """An ObjectStore around `inner`. All requests but listings pass through `_request`.

    Methods return the coroutine of `_request` instead of awaiting it, so that a decorator costs one coroutine per request.
    """

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner
        self.name, self.traits, self.copy_source = inner.name, inner.traits, inner.copy_source

    def _request(
        self, operation: Operation, key: str, size: int, call: Callable[..., Coroutine[Any, Any, T]], *args: Any
    ) -> Coroutine[Any, Any, T]:
        """Do one request: `call(*args)`. `size` is the number of bytes of object data that it is about."""
        return call(*args)

    def head(self, key: str) -> Coroutine[Any, Any, ObjectMeta]:
        return self._request(HEAD, key, 0, self.inner.head, key)

    def read(self, key: str, start: int, length: int, *, version: str = "") -> Coroutine[Any, Any, ObjectData]:
        return self._request(READ, key, length, self._read, key, start, length, version)

    def _read(self, key: str, start: int, length: int, version: str) -> Coroutine[Any, Any, ObjectData]:
        return self.inner.read(key, start, length, version=version)

    def write(
        self, key: str, data: bytes, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> Coroutine[Any, Any, ObjectMeta]:
        return self._request(WRITE, key, len(data), self.inner.write, key, data, attributes, checksums, when)

    def write_stream(
        self, key: str, body: StreamedBody, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> Coroutine[Any, Any, ObjectMeta]:
        write = self.inner.write_stream
        return self._request(WRITE_STREAM, key, body.size, write, key, body, attributes, checksums, when)

    def start_upload(self, key: str, size: int, part_size: int, attributes: Attributes) -> Coroutine[Any, Any, Upload]:
        return self._request(START_UPLOAD, key, 0, self.inner.start_upload, key, size, part_size, attributes)

    def write_part(self, upload: Upload, number: int, data: bytes, crc32c: str) -> Coroutine[Any, Any, Part]:
        return self._request(WRITE_PART, upload.key, len(data), self.inner.write_part, upload, number, data, crc32c)

    def finish_upload(
        self, upload: Upload, parts: Sequence[Part], checksums: Checksums, when: Precondition = ANY
    ) -> Coroutine[Any, Any, ObjectMeta]:
        finish = self.inner.finish_upload
        return self._request(FINISH_UPLOAD, upload.key, upload.size, finish, upload, parts, checksums, when)

    def abort_upload(self, upload: Upload) -> Coroutine[Any, Any, None]:
        return self._request(ABORT_UPLOAD, upload.key, 0, self.inner.abort_upload, upload)

    def uploaded_parts(self, upload: Upload) -> Coroutine[Any, Any, list[Part]]:
        return self._request(UPLOADED_PARTS, upload.key, 0, self.inner.uploaded_parts, upload)

    def uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        return self.inner.uploads(prefix)

    def copy_from(
        self, source: CopySource, found: ObjectMeta, key: str, attributes: Attributes, when: Precondition = ANY
    ) -> Coroutine[Any, Any, ObjectMeta]:
        copy = self.inner.copy_from
        return self._request(COPY_FROM, key, found.size, copy, source, found, key, attributes, when)

    def copy_part(
        self, upload: Upload, number: int, source: CopySource, found: ObjectMeta
    ) -> Coroutine[Any, Any, Part]:
        copy = self.inner.copy_part
        return self._request(COPY_PART, upload.key, upload.part_size, copy, upload, number, source, found)

    def set_attributes(self, found: ObjectMeta, attributes: Attributes) -> Coroutine[Any, Any, ObjectMeta]:
        change = self.inner.set_attributes
        return self._request(SET_ATTRIBUTES, found.key, found.size, change, found, attributes)

    def make_folder(self, key: str) -> Coroutine[Any, Any, None]:
        return self._request(MAKE_FOLDER, key, 0, self.inner.make_folder, key)

    def delete(self, key: str, when: Precondition = ANY) -> Coroutine[Any, Any, None]:
        return self._request(DELETE, key, 0, self.inner.delete, key, when)

    def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        return self.inner.list(prefix, after)

    async def close(self) -> None:
        await self.inner.close()


class QueueDecorator:
    """An EventQueue around `inner`."""

    def __init__(self, inner: EventQueue) -> None:
        self.inner = inner
        self.name = inner.name

    @property
    def lease(self) -> float:
        return self.inner.lease

    @property
    def traits(self) -> QueueTraits:
        return self.inner.traits

    async def receive(self, limit: int, wait: float) -> list[Message]:
        return await self.inner.receive(limit, wait)

    async def extend(self, messages: Sequence[Message], seconds: float = 0.0) -> list[Message]:
        return await self.inner.extend(messages, seconds)

    async def ack(self, messages: Sequence[Message]) -> None:
        await self.inner.ack(messages)

    async def release(self, messages: Sequence[Message], delay: float) -> None:
        await self.inner.release(messages, delay)

    async def send(self, messages: Sequence[Outgoing]) -> list[str]:
        return await self.inner.send(messages)

    async def depth(self) -> Depth:
        return await self.inner.depth()

    async def close(self) -> None:
        await self.inner.close()
