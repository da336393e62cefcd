"""Notifications of the kernel about files and folders (inotify). Only Linux has them.

https://man7.org/linux/man-pages/man7/inotify.7.html
"""

from __future__ import annotations

import errno
import os

IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO = 0x2, 0x4, 0x8, 0x40, 0x80
IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF = 0x100, 0x200, 0x400, 0x800
IN_UNMOUNT, IN_Q_OVERFLOW, IN_IGNORED = 0x2000, 0x4000, 0x8000
IN_ONLYDIR, IN_DONT_FOLLOW, IN_ISDIR = 0x1000000, 0x2000000, 0x40000000
BUFFER = 2**16  # bytes per read


class Inotify:
    """A descriptor that is readable once something has happened to what it watches. No method waits."""

    def __init__(self) -> None:
        """Open it. Raises OSError, with ENOSYS where the system has no inotify."""
        import ctypes  # here: most commands need no notification

        self._libc, self._find_errno = ctypes.CDLL(None, use_errno=True), ctypes.get_errno
        if not hasattr(self._libc, "inotify_init1"):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        self.descriptor = self._check(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def watch(self, path: str | os.PathLike[str], mask: int) -> int:
        """Watch a file or folder, and return the number of the watch. Raises OSError."""
        return self._check(self._libc.inotify_add_watch(self.descriptor, os.fsencode(path), mask), path)

    def forget(self, watch: int) -> None:
        """End a watch, which may have ended."""
        self._libc.inotify_rm_watch(self.descriptor, watch)

    def read(self) -> bytes:
        """Return what has been notified since the last call, `BUFFER` bytes at most; b"" if nothing."""
        try:
            return os.read(self.descriptor, BUFFER)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """End all watches. The descriptor must not be watched any more."""
        os.close(self.descriptor)

    def _check(self, result: int, path: str | os.PathLike[str] | None = None) -> int:
        if result < 0:
            code = self._find_errno()
            raise OSError(code, os.strerror(code), path)
        return result


def has_inotify() -> bool:
    """Return True on Linux, but not in an emulator of it that lacks inotify."""
    try:
        Inotify().close()
    except OSError as error:
        return error.errno != errno.ENOSYS
    return True


def watch_times(folder: os.PathLike[str]) -> Inotify | None:
    """Watch for changes of a folder's own times; None if the system has no notifications, or no more of them."""
    try:
        opened = Inotify()
    except OSError:
        return None
    try:
        opened.watch(folder, IN_ATTRIB | IN_ONLYDIR)
    except OSError:
        opened.close()
        return None
    return opened
