"""Writes to a local bucket: a verified and durable temporary file is renamed. Blocking: runs in the store's threads."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from stat import S_ISDIR, S_ISREG

from skyferry import crcs
from skyferry.errors import ChecksumMismatch, InvalidKey, PreconditionFailed, SkyferryError, UploadGone
from skyferry.frozen import dataclass
from skyferry.model import Attributes, Checksums, ObjectMeta
from skyferry.model.mtime import read_mtime
from skyferry.ports import Part, Precondition, Upload
from skyferry.regex import compile_lazily
from skyferry.stores.local import uploads as local_uploads
from skyferry.stores.local.blocking.bucket import TMP, BucketFolder
from skyferry.stores.local.blocking.files import (
    ABSENT,
    ParentFolder,
    crc_of,
    folder_modes,
    opened,
    prune,
    umask,
    write_all,
)
from skyferry.stores.local.io_thread import Steps, through
from skyferry.stores.local.metadata import attach, detach, summary, version_of
from skyferry.stores.local.names import names_of

ABANDONED = 7 * 86400.0  # seconds without a change after which a temporary file is removed
PRUNED = 50  # times that deletes may remove a folder just before a write renames its file
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ID = compile_lazily(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class _Written:
    """A complete temporary file that becomes an object."""

    file: int
    folder: int
    name: str
    crc32c: str


class LocalWriter:
    """The writing half of a LocalStore. Raises OSError in addition to the port's errors."""

    def __init__(self, bucket: BucketFolder, store: str) -> None:
        self._bucket, self._store, self._swept = bucket, store, False
        self._unique, self._numbers = uuid.uuid4().hex, itertools.count()  # for the names of temporary files

    def write(
        self, key: str, data: bytes, attributes: Attributes, declared: Checksums, when: Precondition
    ) -> Steps[ObjectMeta]:
        """See `ObjectStore.write`."""
        names, folder, name = names_of(key), self._tmp(), f"w-{self._unique}-{next(self._numbers):x}"
        file = os.open(name, _NEW, 0o600, dir_fd=folder)
        try:
            write_all(file, data)
            held = self._proven(key, file, 0, data, declared.crc32c)
            return (yield from self._publish(_Written(file, folder, name, held), key, names, attributes, when))
        except BaseException:  # also if the steps are closed before the end
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            raise
        finally:
            os.close(file)

    def start(self, upload: Upload) -> None:
        """See `ObjectStore.start_upload`. Refuses an upload larger than the free space before its first byte is read."""
        with opened(_temporary(upload), _NEW, self._tmp()) as file:
            room = os.fstatvfs(file)
            if room.f_bavail * room.f_frsize < upload.size:
                os.unlink(_temporary(upload), dir_fd=self._tmp())
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.truncate(file, upload.size)
        local_uploads.begin(self._bucket, upload)

    def write_part(self, upload: Upload, number: int, data: bytes, crc32c: str) -> Part:
        """See `ObjectStore.write_part`."""
        offset = (number - 1) * upload.part_size
        if number < 1 or len(data) != min(upload.part_size, upload.size - offset):
            raise ChecksumMismatch(f"part {number} has {len(data)} bytes", where=self._where(upload.key))
        with self._uploading(upload, fcntl.LOCK_SH) as file:
            if os.fstat(file).st_nlink != 1:
                raise self._gone(upload)  # it is an object already
            write_all(file, data, offset)
            held = self._proven(upload.key, file, offset, data, crc32c)
        part = Part(number, offset, len(data), held, held)
        local_uploads.note(self._bucket, upload, part)
        return part

    def parts(self, upload: Upload) -> list[Part]:
        """See `ObjectStore.uploaded_parts`."""
        with self._uploading(upload, fcntl.LOCK_SH) as file:
            if os.fstat(file).st_nlink != 1:
                raise self._gone(upload)
        return local_uploads.parts(self._bucket, upload)

    def finish(self, upload: Upload, parts: Sequence[Part], declared: Checksums, when: Precondition) -> ObjectMeta:
        """See `ObjectStore.finish_upload`."""
        names, held, end = names_of(upload.key), 0, 0
        for part in sorted(parts, key=lambda p: p.number):
            if part.offset != end:
                break
            held = crcs.combine_crc32c(held, int(part.crc32c, 16), part.size)
            end += part.size
        if end != upload.size or (declared.crc32c or f"{held:08x}") != f"{held:08x}":
            raise ChecksumMismatch("the parts are not those of the object", where=self._where(upload.key))
        with self._uploading(upload, fcntl.LOCK_EX) as file:  # no part is being written any more
            written = _Written(file, self._tmp(), _temporary(upload), f"{held:08x}")
            made = through(self._publish(written, upload.key, names, upload.attributes, when))
        local_uploads.forget(self._bucket, upload)
        return made

    def abort(self, upload: Upload) -> None:
        """See `ObjectStore.abort_upload`."""
        if (folder := self._bucket.existing(TMP)) is not None:
            with suppress(FileNotFoundError):
                os.unlink(_temporary(upload), dir_fd=folder)
            if _ID.fullmatch(upload.id):
                local_uploads.forget(self._bucket, upload)

    def delete(self, key: str, when: Precondition) -> Steps[None]:
        """See `ObjectStore.delete`."""
        names, root = names_of(key), self._bucket.root()
        try:
            with ParentFolder(root, names) as folder:
                with self._bucket.locked(names):
                    found = _look(folder, names[-1])
                    held = found if found is not None and S_ISREG(found.st_mode) else None
                    self._demand(key, held, when)
                    if held is None:
                        return
                    if when.replace:
                        self._unlink_exactly(folder, names[-1], key, when.replace)
                    else:
                        os.unlink(names[-1], dir_fd=folder)
                if self._bucket.durable:
                    yield folder
        except OSError as error:
            if error.errno not in ABSENT:
                raise
            self._demand(key, None, when)
            return
        detach(self._bucket, version_of(held))
        prune(root, names)

    def _unlink_exactly(self, folder: int, name: str, key: str, version: str) -> None:
        """Move the file into the private folder before comparing its version: other programs ignore the lock."""
        taken, aside = f"d-{uuid.uuid4().hex}", self._tmp()
        try:
            os.rename(name, taken, src_dir_fd=folder, dst_dir_fd=aside)
        except OSError as error:
            if error.errno != errno.EXDEV:  # another disk is mounted there
                raise
            os.unlink(name, dir_fd=folder)
            return
        if version_of(os.stat(taken, dir_fd=aside, follow_symlinks=False)) != version:
            self._put_back(taken, aside, folder, name)
            raise PreconditionFailed(where=self._where(key))
        os.unlink(taken, dir_fd=aside)

    def _put_back(self, taken: str, aside: int, folder: int, name: str) -> None:
        """Restore the file, unless a newer one has the name already."""
        try:
            os.link(taken, name, src_dir_fd=aside, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            os.rename(taken, name, src_dir_fd=aside, dst_dir_fd=folder)
            return
        os.unlink(taken, dir_fd=aside)

    def _publish(
        self, written: _Written, key: str, names: Sequence[str], attributes: Attributes, when: Precondition
    ) -> Steps[ObjectMeta]:
        checksums = Checksums(crc32c=written.crc32c)
        os.fchmod(written.file, attributes.modes[-1] if attributes.modes else 0o666 & ~umask())
        if (mtime := read_mtime(attributes)) is not None:
            os.utime(written.file, ns=(mtime, mtime))
        attach(self._bucket, written.file, attributes, checksums)
        if self._bucket.durable:
            yield written.file
        replaced = yield from self._take_name(
            written, key, names, when, folder_modes(attributes.modes[:-1], len(names) - 1)
        )
        stat = os.fstat(written.file)
        if replaced is not None and version_of(replaced) != version_of(stat):
            detach(self._bucket, version_of(replaced))
        return summary(key, stat, attributes, checksums)

    def _take_name(
        self, written: _Written, key: str, names: Sequence[str], when: Precondition, modes: Sequence[int]
    ) -> Steps[os.stat_result | None]:
        """Rename the file, durably. Return the status of the file that it replaced."""
        root = self._bucket.root()
        for attempt in range(PRUNED):
            try:
                with ParentFolder(root, names, create=modes, durable=self._bucket.durable) as folder:
                    with self._bucket.locked(names):
                        found = self._swap(written, folder, key, names[-1], when)
                    if self._bucket.durable:
                        yield folder
                    return found
            except FileNotFoundError:  # a delete has removed the folder, which it left empty
                if attempt == PRUNED - 1:
                    raise
            except SkyferryError:  # refused: remove the folders made for it, which could block another key
                prune(root, names)
                raise
        return None

    def _swap(self, written: _Written, folder: int, key: str, name: str, when: Precondition) -> os.stat_result | None:
        if when.create_only and self._link(written, folder, name):
            return None
        found = _look(folder, name)
        if found is not None and os.path.samestat(found, os.fstat(written.file)):
            os.unlink(written.name, dir_fd=written.folder)  # a finish that was interrupted here continues
            return None
        if found is not None and not S_ISREG(found.st_mode):
            if not S_ISDIR(found.st_mode):
                hint = "remove it, or change the key with the route's key template"
                raise InvalidKey("a link or device is in its place", where=self._where(key), hint=hint)
            os.rmdir(name, dir_fd=folder)  # an empty folder is not an object; others stay
            found = None
        self._demand(key, found, when)
        if not when.create_only:
            os.rename(written.name, name, src_dir_fd=written.folder, dst_dir_fd=folder)
        elif not self._link(written, folder, name):
            raise PreconditionFailed(where=self._where(key))
        return found

    def _link(self, written: _Written, folder: int, name: str) -> bool:
        """Link the file. Return False if the name is taken, even by programs that ignore the lock. A rename would replace it."""
        try:
            os.link(written.name, name, src_dir_fd=written.folder, dst_dir_fd=folder)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if _look(folder, name) is not None:
                return False
            os.rename(written.name, name, src_dir_fd=written.folder, dst_dir_fd=folder)
        else:
            os.unlink(written.name, dir_fd=written.folder)
        return True

    def _demand(self, key: str, found: os.stat_result | None, when: Precondition) -> None:
        if (when.create_only and found is not None) or (
            when.replace and (found is None or version_of(found) != when.replace)
        ):
            raise PreconditionFailed(where=self._where(key))

    def _proven(self, key: str, file: int, offset: int, data: bytes, declared: str) -> str:
        """Return the CRC32C of the bytes read back. Raises ChecksumMismatch if it is not the declared one or that of `data`."""
        held = crc_of(file, offset, len(data))
        if held != (declared or f"{crcs.crc32c(data):08x}"):
            raise ChecksumMismatch("the crc32c read back from disk is not the declared one", where=self._where(key))
        return held

    @contextmanager
    def _uploading(self, upload: Upload, lock: int) -> Iterator[int]:
        """Open and lock the temporary file, so that no part is written once it is an object."""
        name, folder = _temporary(upload), self._tmp()
        try:
            with opened(name, os.O_RDWR, folder) as file:
                fcntl.flock(file, lock)
                if os.path.samestat(os.stat(name, dir_fd=folder), os.fstat(file)):
                    yield file
                    return
        except FileNotFoundError as error:
            raise self._gone(upload) from error
        raise self._gone(upload)

    def _tmp(self) -> int:
        if not self._swept:
            self._swept = True
            self._bucket.sweep(ABANDONED)
        return self._bucket.own(TMP)

    def _gone(self, upload: Upload) -> UploadGone:
        return UploadGone(where=self._where(upload.key))

    def _where(self, key: str) -> str:
        return f"{self._store} {key}"


def _look(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _temporary(upload: Upload) -> str:
    return f"u-{upload.id}" if _ID.fullmatch(upload.id) else "u-"  # no other id becomes a path
