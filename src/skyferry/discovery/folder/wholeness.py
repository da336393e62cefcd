"""Whether a file is whole: nobody has it open for writing.

Linux grants a read lease (fcntl(2), F_SETLEASE) only on a file that no process, this one included, has open for
writing or mapped writable. We ask for one and give it back at once. Should a writer come in between, it is held up for
those few microseconds, and the kernel signals us: SIGURG, which is ignored by default, in place of the deadly SIGIO.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import sys
import tempfile
from enum import Enum
from pathlib import Path


class Wholeness(Enum):
    """The answer."""

    WHOLE = "whole"
    OPEN = "open"  # for writing, by somebody
    UNKNOWN = "unknown"  # the system or the filesystem does not tell


def wholeness(path: str) -> Wholeness:
    """Ask about a regular file. Raises FileNotFoundError; one that we may not open is UNKNOWN."""
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
    except OSError as error:  # EACCES: the file of another user; EINVAL: no leases here
        return Wholeness.OPEN if error.errno == errno.EAGAIN else Wholeness.UNKNOWN
    finally:
        os.close(descriptor)
    return Wholeness.WHOLE


def tells(folder: Path) -> bool:
    """Whether the answers are true in this folder: a network filesystem may refuse every lease, as if all were open."""
    try:
        folder.mkdir(exist_ok=True)
        descriptor, path = tempfile.mkstemp(dir=folder)
        try:
            held = wholeness(path)
            os.close(descriptor)
            return (held, wholeness(path)) == (Wholeness.OPEN, Wholeness.WHOLE)
        finally:
            os.unlink(path)
    except OSError:  # a folder that we may not write to
        return False
