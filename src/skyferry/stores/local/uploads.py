"""The journal of an unfinished upload in a local bucket: a file of JSON lines, the key first, then a line per part.

Blocking: runs in the store's threads. Lines are only appended; a last line that a crash has truncated is ignored. Each part was
read back when it was written, but may still be in the kernel's cache, which survives this process but not a reboot. So parts
count until the machine is rebooted; after that they are sent again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import orjson

from skyferry.model import Part, Upload
from skyferry.stores.local.blocking.bucket import UPLOADS, BucketFolder
from skyferry.stores.local.blocking.files import opened

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_APPEND = os.O_WRONLY | os.O_APPEND
_BOOT = "/proc/sys/kernel/random/boot_id"


def begin(bucket: BucketFolder, upload: Upload) -> None:
    """Record the key and the start, for `uploads`."""
    with opened(upload.id, _NEW, bucket.own(UPLOADS)) as file:
        os.write(file, _line([upload.key, upload.started_at]))


def note(bucket: BucketFolder, upload: Upload, part: Part) -> None:
    """Record that the part is in the temporary file."""
    with suppress(FileNotFoundError), opened(upload.id, _APPEND, bucket.own(UPLOADS)) as file:
        os.write(file, _line([part.number, part.crc32c, _boot()]))


def forget(bucket: BucketFolder, upload: Upload) -> None:
    """Remove the journal of a finished or aborted upload."""
    if (folder := bucket.existing(UPLOADS)) is not None:
        with suppress(FileNotFoundError):
            os.unlink(upload.id, dir_fd=folder)


def parts(bucket: BucketFolder, upload: Upload) -> list[Part]:
    """Return the last recorded part of each number, in order."""
    try:
        _, *noted = _read(bucket.own(UPLOADS), upload.id)
    except (FileNotFoundError, ValueError):
        return []
    crcs = {number: crc32c for number, crc32c, boot in noted if boot and boot == _boot()}
    offsets = ((number, (number - 1) * upload.part_size) for number in sorted(crcs))
    return [Part(n, at, min(upload.part_size, upload.size - at), crcs[n], crcs[n]) for n, at in offsets]


def under_way(bucket: BucketFolder, prefix: str) -> Iterator[Upload]:
    """Yield all uploads to keys with this prefix."""
    folder = bucket.existing(UPLOADS)
    if folder is not None:
        for name in os.listdir(folder):
            with suppress(FileNotFoundError):
                for key, started_at in _read(folder, name)[:1]:
                    if key.startswith(prefix):
                        yield Upload(name, key, 0, 0, started_at=started_at)


def _line(values: list[object]) -> bytes:
    return orjson.dumps(values) + b"\n"


def _read(folder: int, name: str) -> list[list[Any]]:
    text = b""
    with opened(name, os.O_RDONLY, folder) as file:
        while piece := os.read(file, 2**20):
            text += piece
    return [orjson.loads(line) for line in text.split(b"\n")[:-1]]


@cache
def _boot() -> str:
    """Return the id of the machine's boot; "" where the system has none."""
    with suppress(OSError), open(_BOOT, encoding="ascii") as file:
        return file.read().strip()
    return ""
