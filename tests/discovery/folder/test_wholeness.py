"""Checks that a file is open for writing."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from skyferry.discovery.folder.wholeness import Wholeness, check_wholeness, has_reliable_leases

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has leases")


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "file").write_bytes(b"x")
    return str(tmp_path / "file")


@linux
def test_a_file_is_open_as_long_as_a_writer_has_it(path: str) -> None:
    assert check_wholeness(path) is Wholeness.WHOLE
    with open(path, "ab"):
        assert check_wholeness(path) is Wholeness.OPEN
    assert check_wholeness(path) is Wholeness.WHOLE


@linux
def test_a_writer_in_another_process_counts(path: str) -> None:
    with subprocess.Popen(["tee", "-a", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdin
        assert writer.stdout
        writer.stdin.write(b"y")
        writer.stdin.flush()
        writer.stdout.read(1)
        assert check_wholeness(path) is Wholeness.OPEN
        writer.stdin.close()
    assert check_wholeness(path) is Wholeness.WHOLE


@linux
def test_a_reader_does_not_count(path: str) -> None:
    with open(path, "rb"):
        assert check_wholeness(path) is Wholeness.WHOLE


@linux
def test_a_writer_that_comes_while_we_ask_does_us_no_harm(path: str) -> None:
    """The signal that the kernel then sends would end the process if it were the usual one."""
    lease = os.open(path, os.O_RDONLY)
    fcntl.fcntl(lease, fcntl.F_SETSIG, signal.SIGURG)
    fcntl.fcntl(lease, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    with pytest.raises(BlockingIOError):
        os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    os.close(lease)
    assert check_wholeness(path) is Wholeness.WHOLE


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        check_wholeness(str(tmp_path / "absent"))


@linux
def test_what_cannot_be_opened_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/hostname")
    assert check_wholeness(str(tmp_path / "link")) is Wholeness.UNKNOWN


@linux
def test_a_local_filesystem_has_reliable_leases_and_no_file_is_left_behind(tmp_path: Path) -> None:
    assert has_reliable_leases(tmp_path / "own")
    assert list((tmp_path / "own").iterdir()) == []


def test_a_read_only_folder_has_no_reliable_leases(tmp_path: Path) -> None:
    assert not has_reliable_leases(tmp_path / "absent" / "own")
