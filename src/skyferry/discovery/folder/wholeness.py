"""Check that a file is whole: no process has it open for writing.

Linux grants a read lease (fcntl(2), F_SETLEASE) only on a file that no process, this one included, has open for
writing or mapped writable. The check takes a lease and releases it at once. If a writer opens the file in between, it is
blocked for a few microseconds, and the kernel sends this process SIGURG, ignored by default, instead of the fatal SIGIO.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import sys
from enum import Enum
from pathlib import Path


class Wholeness(Enum):
    """The result of a check."""

    WHOLE = "whole"
    OPEN = "open"  # for writing, by any process
    UNKNOWN = "unknown"  # not known to the system or the filesystem


def check_wholeness(path: str) -> Wholeness:
    """Check a regular file. One that may not be opened is UNKNOWN. Raises FileNotFoundError."""
    if not sys.platform.startswith("linux"):
        return Wholeness.UNKNOWN
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise FileNotFoundError from error
        return Wholeness.UNKNOWN
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:  # EACCES: another user's file; EINVAL: leases not supported
        return Wholeness.OPEN if error.errno == errno.EAGAIN else Wholeness.UNKNOWN
    finally:
        os.close(descriptor)
    return Wholeness.WHOLE


def has_reliable_leases(folder: Path) -> bool:
    """Test that leases are reliable in this folder: a network filesystem may refuse all, as if all files were open."""
    import tempfile

    try:
        folder.mkdir(exist_ok=True)
        descriptor, path = tempfile.mkstemp(dir=folder)
        try:
            held = check_wholeness(path)
            os.close(descriptor)
            return (held, check_wholeness(path)) == (Wholeness.OPEN, Wholeness.WHOLE)
        finally:
            os.unlink(path)
    except OSError:  # the folder is not writable
        return False
