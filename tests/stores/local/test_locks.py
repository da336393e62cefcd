"""Locks of keys between the processes of one folder. Their files stay open."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyferry.stores.local.blocking.bucket import LOCKS, STRIPES, BucketFolder, ExpectedFolder

NAMES = ["folder", "key"]


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[BucketFolder]:
    made = BucketFolder(tmp_path / "bucket", ExpectedFolder())
    made.folder.mkdir()
    yield made
    made.close()


def lock_file(bucket: BucketFolder) -> Path:
    """The file on which other processes lock the key."""
    return bucket.folder / ".skyferry" / LOCKS / f"{zlib.crc32('/'.join(NAMES).encode()) % STRIPES:02}"


def is_locked(bucket: BucketFolder) -> bool:
    """Ask as another process does: with a descriptor of its own."""
    file = os.open(lock_file(bucket), os.O_RDWR)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def test_a_key_is_locked_only_inside(bucket: BucketFolder) -> None:
    for _ in range(2):  # the second time with a file that is open already
        with bucket.locked(NAMES):
            assert is_locked(bucket)
        assert not is_locked(bucket)


def test_an_error_unlocks(bucket: BucketFolder) -> None:
    with pytest.raises(ValueError, match="wrong"), bucket.locked(NAMES):
        raise ValueError("wrong")
    assert not is_locked(bucket)


def test_an_error_at_the_begin_unlocks(bucket: BucketFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file stays open, so the lock would keep other processes out until this one locks the key again."""
    with bucket.locked(NAMES):
        pass

    def fail(file: int) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", fail)
        with pytest.raises(OSError, match="tale"), bucket.locked(NAMES):
            pytest.fail("the lock of a lost file excludes no process")
    assert not is_locked(bucket)


def test_threads_exclude_each_other(bucket: BucketFolder) -> None:
    """They share the open file, which excludes only other processes."""
    entered = threading.Event()

    def enter() -> None:
        with bucket.locked(NAMES):
            entered.set()

    other = threading.Thread(target=enter)
    with bucket.locked(NAMES):
        other.start()
        assert not entered.wait(0.05)
    other.join(30)
    assert entered.is_set()


def test_a_file_that_was_removed_locks_nothing(bucket: BucketFolder) -> None:
    """Another process would make and lock a new one: it is opened again first."""
    with bucket.locked(NAMES):
        pass
    lock_file(bucket).unlink()

    with pytest.raises(FileNotFoundError), bucket.locked(NAMES):
        pytest.fail("the lock of a removed file excludes nobody")

    bucket.renew()  # as the store does, before it tries again
    with bucket.locked(NAMES):
        assert is_locked(bucket)


def test_the_files_are_closed_with_the_bucket(bucket: BucketFolder) -> None:
    before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    for n in range(200):
        with bucket.locked([f"{n}"]):
            pass
    bucket.close()
    after = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    assert len(after) <= len(before)
