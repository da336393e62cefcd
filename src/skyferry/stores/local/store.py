"""A folder as a bucket. Atomic (a temporary file takes the name), durable (fsync of file and folder), proven (read back).

Permissions are copied from folder to folder; objects from other stores get those of the umask. An existing folder keeps its
permissions. A change of permissions alone is not a new version.

Inside the folder, `.skyferry/` is private to Skyferry and closed to other users: `tmp/` for unfinished writes and uploads,
`uploads/` for the parts of each upload, `locks/`, and `meta/` for metadata that do not fit into extended attributes. The version
of an object is inode, size and modification time. Its position is the time of its last status change, which a `mv` into place
advances too. Symbolic links are neither objects nor folders.

Other programs may write into the folder. A `create_only` write never replaces their files; a write that replaces an exact version
excludes other Skyferry processes only. A file that is overwritten in place with the same size, within one tick of the
filesystem's clock, keeps its version.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

from skyferry.bodies import BUFFERS, StreamedBody
from skyferry.errors import (
    InvalidKey,
    ObjectNotFound,
    PreconditionFailed,
    SkyferryError,
    StoreUnavailable,
    Unsupported,
    VersionChanged,
)
from skyferry.model import Attributes, Checksums, ObjectMeta, Traits
from skyferry.ports import ANY, CopySource, ObjectData, Part, Precondition, Upload
from skyferry.ports.inspection import BucketFacts
from skyferry.ports.listing import Pages, paged
from skyferry.stores.checks import translate_absence
from skyferry.stores.local.blocking.bucket import BucketFolder, ExpectedFolder
from skyferry.stores.local.blocking.files import ExistingFile, make_folder, read_range, special
from skyferry.stores.local.blocking.inspection import inspect
from skyferry.stores.local.blocking.links import target
from skyferry.stores.local.blocking.listing import Listeners, walk
from skyferry.stores.local.blocking.writing import LocalWriter
from skyferry.stores.local.errors import translate
from skyferry.stores.local.io_thread import Lane, Steps, stepless, through
from skyferry.stores.local.metadata import attach, describe, version_of
from skyferry.stores.local.names import LONGEST_NAME, names_of
from skyferry.stores.local.threads import Threads
from skyferry.stores.local.uploads import under_way
from skyferry.tasks.threads import call_aside

T = TypeVar("T")
PAGE = 512  # objects listed at a time
ANY_FOLDER = ExpectedFolder()
SMALL = 256 * 2**10  # bytes that are read or written in a fraction of a millisecond


class LocalStore:
    """An ObjectStore over one folder, which MUST exist. Several processes may share it.

    It returns the CRC32C of the bytes that it read back before the object became visible.
    """

    traits = Traits(
        metadata_limit=64 * 2**10,
        single_put_limit=2**63 - 1,
        max_part=2**40,
        max_parts=2**31,
        resumable=True,
        in_place=True,
        keeps_mtime=True,
        folders=True,
        listed_uploads="own",
        lossy=("a key and one below it (a and a/b)", f"a part of a key longer than {LONGEST_NAME} bytes"),
    )

    copy_source: CopySource | None = None

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        threads: int = 4,
        on_unreadable: Callable[[str, SkyferryError], None] = lambda path, error: None,
        on_special: Callable[[str, str], None] = lambda path, kind: None,
        expected: ExpectedFolder = ANY_FOLDER,
        follow: bool = False,
        durable: bool = True,
    ) -> None:
        """Take callbacks for paths that a listing leaves out; both run on the event loop.

        `on_unreadable` gets files whose name cannot be a key, and folders without read permission. `on_special` gets links,
        pipes, sockets and devices with their kind; an exception from it ends the listing. `expected` identifies the folder
        that is the bucket. With `follow`, a link to a file of this folder is read and listed as that object. Unless `durable`,
        nothing is flushed: a crash of the system may lose what was written in the last minute.
        """
        self.name, self._follow = name, follow
        self._bucket = BucketFolder(folder, expected, durable)
        self._on_unreadable, self._on_special = on_unreadable, on_special
        self._writer = LocalWriter(self._bucket, name)
        self._lane, self._threads = Lane(f"store-{name}", self._bucket.first_root), Threads(f"store-{name}", threads)
        self._closed = False

    async def head(self, key: str) -> ObjectMeta:
        return await self._do(0, self._steps(key, stepless(self._head), key))

    async def read(self, key: str, start: int, length: int, *, version: str = "") -> ObjectData:
        return await self._do(length, self._steps(key, stepless(self._read), key, start, length, version))

    async def write(
        self, key: str, data: bytes, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        return await self._do(len(data), self._steps(key, self._writer.write, key, data, attributes, checksums, when))

    async def write_stream(
        self, key: str, body: StreamedBody, attributes: Attributes, checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        """Raise Unsupported: no digest of a stream is checked."""
        raise Unsupported(where=f"{self.name} {key}")

    async def start_upload(self, key: str, size: int, part_size: int, attributes: Attributes) -> Upload:
        names_of(key)
        upload = Upload(uuid.uuid4().hex, key, size, part_size, attributes, time.time())
        await self._run(key, self._writer.start, upload)
        return upload

    async def write_part(self, upload: Upload, number: int, data: bytes, crc32c: str) -> Part:
        return await self._run(upload.key, self._writer.write_part, upload, number, data, crc32c)

    async def finish_upload(
        self, upload: Upload, parts: Sequence[Part], checksums: Checksums, when: Precondition = ANY
    ) -> ObjectMeta:
        return await self._run(upload.key, self._writer.finish, upload, parts, checksums, when)

    async def abort_upload(self, upload: Upload) -> None:
        await self._run(upload.key, self._writer.abort, upload)

    async def uploaded_parts(self, upload: Upload) -> list[Part]:
        return await self._run(upload.key, self._writer.parts, upload)

    async def uploads(self, prefix: str = "") -> AsyncIterator[Upload]:
        found: list[Upload] = await self._run(prefix, list, under_way(self._bucket, prefix))
        for upload in found:
            yield upload

    async def copy_from(
        self, source: CopySource, found: ObjectMeta, key: str, attributes: Attributes, when: Precondition = ANY
    ) -> ObjectMeta:
        raise Unsupported("a folder has no server-side copy", where=self.name)

    async def copy_part(self, upload: Upload, number: int, source: CopySource, found: ObjectMeta) -> Part:
        raise Unsupported("a folder has no server-side copy", where=self.name)

    async def set_attributes(self, found: ObjectMeta, attributes: Attributes) -> ObjectMeta:
        """Replace the metadata of a file, whose permissions and modification time stay."""
        return await self._run(found.key, self._set_attributes, found, attributes)

    async def make_folder(self, key: str) -> None:
        await self._run(key, lambda: make_folder(self._bucket.root(), names_of(key), self._bucket.durable))

    async def delete(self, key: str, when: Precondition = ANY) -> None:
        await self._do(0, self._steps(key, self._writer.delete, key, when))

    @paged
    async def list(self, prefix: str = "", after: str = "") -> Pages[ObjectMeta]:
        unreadable: list[tuple[str, SkyferryError]] = []
        special: list[tuple[str, str]] = []
        listeners = Listeners(lambda *found: unreadable.append(found), lambda *found: special.append(found))
        found = walk(self._bucket, prefix, after, listeners, follow=self._follow)
        more = True
        while more:
            page = await self._do(0, self._steps(prefix, stepless(_next), found))
            while special:
                self._on_special(*special.pop(0))
            yield page
            while unreadable:
                self._on_unreadable(*unreadable.pop())
            more = bool(page)

    async def inspect(self) -> BucketFacts:
        return await self._run("", self._inspect)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._lane.close()
            await self._threads.close()
            await call_aside(self._bucket.close)

    async def _run(self, key: str, function: Callable[..., T], *args: object) -> T:
        return await self._threads.run(through, self._steps(key, stepless(function), *args))

    async def _do(self, size: int, steps: Steps[T]) -> T:
        return await (self._lane.run(steps) if size <= SMALL else self._threads.run(through, steps))

    def _steps(self, key: str, function: Callable[..., Steps[T]], *args: object) -> Steps[T]:
        if self._closed:
            raise StoreUnavailable("it is closed", where=self.name)
        return self._translated(f"{self.name} {key or self._bucket.folder}", function, args)

    def _translated(self, where: str, function: Callable[..., Steps[T]], args: tuple[object, ...]) -> Steps[T]:
        try:
            try:
                return (yield from function(*args))
            except FileNotFoundError:  # the private folder was removed
                self._bucket.renew()
                return (yield from function(*args))
        except OSError as error:
            raise translate(error, where) from error

    def _inspect(self) -> BucketFacts:
        self._bucket.root()
        return inspect(self._bucket.folder, self._bucket.durable)

    def _head(self, key: str) -> ObjectMeta:
        """Raise InvalidKey, as a write does, where a link or device may hide the object: it is not known to be deleted."""
        root, names, where = self._bucket.root(), names_of(key), f"{self.name} {key}"
        try:
            with self._existing(root, names, where) as (file, stat, modes):
                return describe(self._bucket, file, key, stat, modes)
        except ObjectNotFound as absent:
            if special(root, names):
                hint = "replace it with the file itself, or remove it if the object is gone"
                raise InvalidKey("a link or device is in its place", where=where, hint=hint) from absent
            raise

    def _set_attributes(self, found: ObjectMeta, attributes: Attributes) -> ObjectMeta:
        root, names, where = self._bucket.root(), names_of(found.key), f"{self.name} {found.key}"
        with (
            translate_absence(Precondition(replace=found.version)),
            self._bucket.locked(names),
            ExistingFile(root, names, where) as (file, stat, modes),
        ):
            now = describe(self._bucket, file, found.key, stat, modes)
            if (now.version, now.attributes) != (found.version, found.attributes):
                raise PreconditionFailed(where=where)
            attributes = replace(attributes, storage_class=now.attributes.storage_class)
            attach(self._bucket, file, attributes, now.checksums)
            return describe(self._bucket, file, found.key, os.fstat(file), modes)

    def _existing(self, root: int, names: Sequence[str], where: str) -> ExistingFile:
        """Return the file of a key, or the target of a link if this store follows links."""
        led = target(root, names, os.path.realpath(self._bucket.folder)) if self._follow else None
        return ExistingFile(root, led or names, where)

    def _read(self, key: str, start: int, length: int, version: str) -> ObjectData:
        with self._existing(self._bucket.root(), names_of(key), f"{self.name} {key}") as (file, stat, modes):
            if version and version != version_of(stat):
                raise VersionChanged(where=f"{self.name} {key}")
            wanted = max(0, min(length, stat.st_size - start))
            data = read_range(file, start, wanted, BUFFERS)
            after = os.fstat(file)
            if len(data) != wanted or (after.st_size, after.st_mtime_ns) != (stat.st_size, stat.st_mtime_ns):
                raise VersionChanged("it changed while it was read", where=f"{self.name} {key}")
            return ObjectData(describe(self._bucket, file, key, stat, modes), data)


def _next(found: Iterator[ObjectMeta]) -> list[ObjectMeta]:
    return list(islice(found, PAGE))
