"""The table that maps the operating system's error numbers (errno(3)) to errors of a store.

There are four kinds. In an outage of the store, work waits and nothing becomes a dead letter. A fault of one object makes a dead
letter, at once or after its attempts; a refusal does so at once, until an operator grants permission. If this process lacks
resources, its work waits without blame for the store. Unknown numbers count as an outage, because waiting loses nothing.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import MappingProxyType

from skyferry.errors import (
    ConnectionLost,
    InvalidKey,
    OutOfResources,
    PermissionDenied,
    QuotaExceeded,
    SkyferryError,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
    Unsupported,
)

_ROWS: tuple[tuple[type[SkyferryError], str, str, str], ...] = (
    # kind, hint, names, the text that replaces the system's
    (QuotaExceeded, "free some disk space, or raise the quota", "ENOSPC EDQUOT", ""),
    (
        StoreUnavailable,
        "mount it writable: the system may have made it read-only after a disk error",
        "EROFS",
        "",
    ),
    (
        StoreUnavailable,
        "check the disk and the system's log",
        "EIO EREMOTEIO EUCLEAN ENODEV ENXIO ENOMEDIUM EMEDIUMTYPE",
        "",
    ),
    (StoreUnavailable, "mount it again", "ESTALE ENOTCONN ESHUTDOWN", ""),
    (StoreUnavailable, "check that the file server answers", "EAGAIN EINTR ENOLCK EDEADLK ENOLINK ECOMM EPROTO", ""),
    (
        ConnectionLost,
        "check that the file server answers",
        "EHOSTDOWN EHOSTUNREACH ENETDOWN ENETUNREACH ENETRESET ECONNREFUSED ECONNRESET ECONNABORTED EPIPE",
        "",
    ),
    (StoreTimeout, "check that the file server answers", "ETIMEDOUT ETIME", ""),
    (OutOfResources, "raise the limit of open files (ulimit -n)", "EMFILE", ""),
    (OutOfResources, "raise the system's limit of open files (fs.file-max)", "ENFILE", ""),
    (OutOfResources, "lower limits.memory, or give the process more memory", "ENOMEM ENOBUFS", ""),
    (
        PermissionDenied,
        "grant Skyferry's user permission to read and write there",
        "EACCES EPERM ENOKEY EKEYREJECTED",
        "",
    ),
    (InvalidKey, "shorten it with the route's key template", "ENAMETOOLONG", ""),
    (
        InvalidKey,
        "on a filesystem a and a/b cannot both be objects, and links are not followed",
        "ENOTDIR EISDIR ENOTEMPTY EEXIST ELOOP",
        "a file is where a folder is needed, or the reverse",
    ),
    (InvalidKey, "this filesystem cannot store such a name", "EILSEQ", ""),
    (
        Unsupported,
        "the filesystem or a limit (ulimit -f) does not allow a file of this size: exclude it with the route's filter",
        "EFBIG EOVERFLOW",
        "",
    ),
    (
        Unsupported,
        "this filesystem does not support it: use a folder on another filesystem",
        "ENOSYS ENOTSUP EOPNOTSUPP EXDEV EMLINK",
        "",
    ),
    (StoreError, "something else uses the file, or the filesystem refuses it", "EBUSY ETXTBSY EINVAL", ""),
)


def _table() -> Mapping[int, tuple[type[SkyferryError], str, str]]:
    """Return the rows by number, without names that this system does not define."""
    rows = ((name, (kind, hint, words)) for kind, hint, names, words in _ROWS for name in names.split())
    return MappingProxyType({number: row for name, row in rows if (number := getattr(errno, name, None)) is not None})


TABLE = _table()


def translate(error: OSError, where: str) -> SkyferryError:
    """Return the store error for an error of the operating system."""
    unknown = (StoreUnavailable, "check the disk and the system's log", "")
    kind, hint, words = TABLE.get(error.errno or 0, unknown)
    return kind(words or error.strerror or str(error), where=where, hint=hint)
