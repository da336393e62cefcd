"""Which kind of error each number of the operating system is (errno(3)), in this one table.

Four kinds: an outage of the store (its work waits, nothing is given up), a fault of one object (given up, at once or after its
attempts), a refusal (given up at once: somebody has to grant it), and want of this process (its work waits, and the store is not
to blame). A number that the table does not have counts as an outage, because waiting loses nothing.
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
    # kind, hint, names, what it says instead of the system's own words
    (QuotaExceeded, "free some disk space, or raise the quota", "ENOSPC EDQUOT", ""),
    (
        StoreUnavailable,
        "mount it writable: the system may have made it read-only after an error of the disk",
        "EROFS",
        "",
    ),
    (
        StoreUnavailable,
        "look at the disk and at the system's log",
        "EIO EREMOTEIO EUCLEAN ENODEV ENXIO ENOMEDIUM EMEDIUMTYPE",
        "",
    ),
    (StoreUnavailable, "mount it again", "ESTALE ENOTCONN ESHUTDOWN", ""),
    (StoreUnavailable, "see whether the file server answers", "EAGAIN EINTR ENOLCK EDEADLK ENOLINK ECOMM EPROTO", ""),
    (
        ConnectionLost,
        "see whether the file server answers",
        "EHOSTDOWN EHOSTUNREACH ENETDOWN ENETUNREACH ENETRESET ECONNREFUSED ECONNRESET ECONNABORTED EPIPE",
        "",
    ),
    (StoreTimeout, "see whether the file server answers", "ETIMEDOUT ETIME", ""),
    (OutOfResources, "raise the limit of open files (ulimit -n)", "EMFILE", ""),
    (OutOfResources, "raise the system's limit of open files (fs.file-max)", "ENFILE", ""),
    (OutOfResources, "lower limits.memory, or give the process more memory", "ENOMEM ENOBUFS", ""),
    (
        PermissionDenied,
        "let the user that Skyferry runs as read and write there",
        "EACCES EPERM ENOKEY EKEYREJECTED",
        "",
    ),
    (InvalidKey, "shorten it by the route's key template", "ENAMETOOLONG", ""),
    (
        InvalidKey,
        "on a filesystem a and a/b cannot both be objects, and links are not followed",
        "ENOTDIR EISDIR ENOTEMPTY EEXIST ELOOP",
        "a file stands where a folder is needed, or the other way round",
    ),
    (InvalidKey, "this filesystem cannot hold such a name", "EILSEQ", ""),
    (
        Unsupported,
        "the filesystem or a limit (ulimit -f) does not allow a file of this size: leave it out by the route's filter",
        "EFBIG EOVERFLOW",
        "",
    ),
    (
        Unsupported,
        "this filesystem cannot do it: give the store another folder",
        "ENOSYS ENOTSUP EOPNOTSUPP EXDEV EMLINK",
        "",
    ),
    (StoreError, "something else uses the file, or the filesystem refuses it", "EBUSY ETXTBSY EINVAL", ""),
)


def _table() -> Mapping[int, tuple[type[SkyferryError], str, str]]:
    """By number; a name that this system does not have is left out."""
    rows = ((name, (kind, hint, words)) for kind, hint, names, words in _ROWS for name in names.split())
    return MappingProxyType({number: row for name, row in rows if (number := getattr(errno, name, None)) is not None})


TABLE = _table()


def translate(error: OSError, where: str) -> SkyferryError:
    """What the operating system says, as a store says it."""
    unknown = (StoreUnavailable, "look at the disk and at the system's log", "")
    kind, hint, words = TABLE.get(error.errno or 0, unknown)
    return kind(words or error.strerror or str(error), where=where, hint=hint)
