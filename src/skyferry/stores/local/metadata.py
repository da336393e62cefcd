"""An object's metadata on disk: in an extended attribute, or in a separate file where attributes are not supported.

They are in place before the file takes its name, so that one rename shows bytes and metadata together. They name the size and
modification time that they belong to: a file that another program has overwritten has lost them.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from copy import copy
from operator import attrgetter
from typing import Any

import orjson

from skyferry.frozen import replace
from skyferry.model import EMPTY, NO_ATTRIBUTES, NO_CHECKSUMS, Attributes, Checksums, ObjectMeta, Position
from skyferry.stores.local.blocking.bucket import BucketFolder
from skyferry.stores.local.blocking.files import opened, write_all

XATTR = "user.skyferry"
SEPARATE = b'{"beside":true}'  # the attribute of a file whose metadata did not fit into it
META = "meta"  # the private folder with separate metadata, by version
_NO_XATTR = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM, errno.ENOSYS}
_TOO_LARGE = {errno.ENOSPC, errno.E2BIG, errno.ERANGE, errno.EDQUOT}
_TEXTS = ("content_type", "content_encoding", "content_language", "content_disposition", "cache_control")
_FIELDS = (*_TEXTS, "metadata", "tags", "storage_class", "expires", "website_redirect")
_get_fields = attrgetter(*_FIELDS)
_NOTHING = (NO_ATTRIBUTES, NO_CHECKSUMS)
_new = object.__new__


def version_of(stat: os.stat_result) -> str:
    """Return the version of a file. It changes with the content, and when another file replaces it."""
    return "%x-%x-%x" % (stat.st_ino, stat.st_size, stat.st_mtime_ns)  # noqa: UP031 - half the time of an f-string


def attach(bucket: BucketFolder, file: int, attributes: Attributes, checksums: Checksums) -> None:
    """Give the open, completely written file its metadata. A separate metadata file of a durable bucket is durable on return."""
    stat = os.fstat(file)
    given = zip(_FIELDS, _get_fields(attributes), strict=True)
    carried = {name: value if isinstance(value, str) else dict(value) for name, value in given if value}
    found = {"of": [stat.st_size, stat.st_mtime_ns], "attributes": carried, "crc32c": checksums.crc32c}
    data = orjson.dumps(found)
    try:
        if hasattr(os, "setxattr"):
            os.setxattr(file, XATTR, data)
            return
    except OSError as error:
        if error.errno not in _NO_XATTR | _TOO_LARGE:
            raise
        with suppress(OSError):  # many filesystems support no attribute at all
            os.setxattr(file, XATTR, SEPARATE)
    folder = bucket.own(META)
    with opened(version_of(stat), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, folder) as separate:
        write_all(separate, data)
        if bucket.durable:
            os.fsync(separate)
    if bucket.durable:
        os.fsync(folder)


def detach(bucket: BucketFolder, version: str) -> None:
    """Remove the separate metadata of a version that is gone."""
    if (folder := bucket.existing(META)) is not None:
        with suppress(FileNotFoundError):
            os.unlink(version, dir_fd=folder)


def describe(bucket: BucketFolder, file: int, key: str, stat: os.stat_result, modes: tuple[int, ...]) -> ObjectMeta:
    """Describe the open file with its metadata. `modes` are the permissions of the folders on its path, and its own."""
    attributes, checksums = _parse(_carried(bucket, file, stat), stat)
    return summary(key, stat, replace(attributes, modes=modes, mtime=stat.st_mtime_ns), checksums)


def summary(
    key: str, stat: os.stat_result, attributes: Attributes = _NOTHING[0], checksums: Checksums = _NOTHING[1]
) -> ObjectMeta:
    """Describe a file by its `stat`, with the given attributes and checksums."""
    position = Position.at(stat.st_ctime_ns)
    return ObjectMeta(key, stat.st_size, version_of(stat), stat.st_mtime, position, checksums, attributes)


class _ListedFile(ObjectMeta):
    """A listed file. What its status says is made where it is needed: of a destination, mostly nothing is."""

    __slots__ = ("_stat",)
    _stat: os.stat_result
    checksums, attributes, kept, unfinished = NO_CHECKSUMS, NO_ATTRIBUTES, False, False

    def __new__(cls, *values: Any, **named: Any) -> Any:
        """Make a plain record, as `dataclasses.replace` wants of this class."""
        return ObjectMeta(*values, **named)

    @property
    def version(self) -> str:
        return version_of(self._stat)

    @property
    def modified(self) -> float:
        return self._stat.st_mtime

    @property
    def position(self) -> Position:
        return Position.at(self._stat.st_ctime_ns)

    def __copy__(self) -> ObjectMeta:
        return summary(self.key, self._stat)

    def __reduce__(self) -> tuple[Any, ...]:
        return summary, (self.key, self._stat)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectMeta) and copy(self) == copy(other)

    __hash__ = ObjectMeta.__hash__


def list_file(key: str, stat: os.stat_result) -> ObjectMeta:
    """Describe a file as `summary` does, at a fifth of its cost."""
    found: Any = _new(_ListedFile)
    found.key, found.size, found._stat = key, stat.st_size, stat
    return found  # type: ignore[no-any-return]  # the fields of a frozen record are set


def _carried(bucket: BucketFolder, file: int, stat: os.stat_result) -> bytes:
    try:
        if hasattr(os, "getxattr"):
            data = os.getxattr(file, XATTR)
            if data != SEPARATE:
                return data
    except OSError as error:
        if error.errno == errno.ENODATA:
            return b""
        if error.errno not in _NO_XATTR | _TOO_LARGE:
            raise
    if (folder := bucket.existing(META)) is None:
        return b""
    try:
        with opened(version_of(stat), os.O_RDONLY, folder) as separate:
            return os.read(separate, 2**20)
    except FileNotFoundError:
        return b""


def _parse(data: bytes, stat: os.stat_result) -> tuple[Attributes, Checksums]:
    """Parse stored metadata. Return none if they belong to other content or were not written by Skyferry."""
    if not data:
        return _NOTHING
    try:
        found = orjson.loads(data)
        if found["of"] != [stat.st_size, stat.st_mtime_ns]:
            return _NOTHING
        attributes = {"metadata": EMPTY, "tags": EMPTY} | found["attributes"]
        return Attributes(**attributes), Checksums(crc32c=found["crc32c"])
    except (ValueError, TypeError, KeyError):
        return _NOTHING
