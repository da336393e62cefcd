"""Notifications of the kernel that the times of a folder have changed. Only Linux has them."""

from __future__ import annotations

import contextlib
import os

# https://man7.org/linux/man-pages/man7/inotify.7.html
ATTRIBUTES = 0x4  # IN_ATTRIB
ONLY_FOLDERS = 0x01000000  # IN_ONLYDIR
BYTES = 4096  # more than the notifications of one folder need: equal ones in a row are merged


class FolderNotifications:
    """A descriptor that is readable once the times of a folder have changed."""

    def __init__(self, descriptor: int) -> None:
        """Take the descriptor over. `open_notifications` opens one."""
        self.descriptor = descriptor

    def clear(self) -> None:
        """Read the notifications, so that the descriptor is readable only after the next change. It does not block."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.descriptor, BYTES)

    def close(self) -> None:
        """Close the descriptor. It must not be watched any more."""
        os.close(self.descriptor)


def open_notifications(folder: os.PathLike[str]) -> FolderNotifications | None:
    """Open the notifications of a folder; None if the system has none, or no more of them."""
    import ctypes  # here: most commands need no notification

    libc = ctypes.CDLL(None)
    try:
        descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    except AttributeError:
        return None
    if descriptor < 0:
        return None
    if libc.inotify_add_watch(descriptor, os.fsencode(folder), ATTRIBUTES | ONLY_FOLDERS) < 0:
        os.close(descriptor)
        return None
    return FolderNotifications(descriptor)
