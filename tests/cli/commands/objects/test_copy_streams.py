"""`skyferry copy - DST` and `skyferry copy SRC -`."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.commands.objects.test_copy_selection import held
from tests.cli.conftest import Cli

from skyferry.cli.exit_codes import ExitCode
from skyferry.engine.copy.digests import InlineOffload
from skyferry.engine.streaming import PART, read_stream, write_stream
from skyferry.errors import ChecksumMismatch, StoreUnavailable
from skyferry.model import Attributes, Checksums, ObjectMeta
from skyferry.stores.memory import MemoryStore
from skyferry.testing.clock import ManualClock


def skyferry(*arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "skyferry", *arguments], input=data, capture_output=True, check=False)


@pytest.mark.parametrize("size", [0, 3, PART, PART + 1, 2 * PART, 2 * PART + 1])
def test_a_stream_arrives_and_comes_back(cli: Cli, size: int) -> None:
    data = os.urandom(size)
    assert skyferry("copy", "-", "out/k", data=data).returncode == 0
    assert Path("out/k").read_bytes() == data
    assert sorted(os.listdir("out")) == ["k"]
    back = skyferry("copy", "out/k", "-")
    assert (back.returncode, back.stdout == data, back.stderr) == (0, True, b"")


def test_a_closed_pipe_ends_it_without_a_word(cli: Cli) -> None:
    Path("k").write_bytes(bytes(2**24))
    with subprocess.Popen(
        [sys.executable, "-m", "skyferry", "copy", "k", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        running.stdout.read(10)
        running.stdout.close()
        assert running.stderr is not None
        assert running.stderr.read() == b""
    assert running.returncode == ExitCode.BROKEN_PIPE


@pytest.mark.parametrize("arguments", [("-", "out/k"), ("in", "out", "--files-from", "-")])
def test_an_interrupt_ends_it_while_no_input_comes(cli: Cli, arguments: tuple[str, ...]) -> None:
    """As at a terminal: a thread that waits for input must not keep the process alive."""
    Path("in").mkdir()
    command = [sys.executable, "-m", "skyferry", "copy", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdin is not None
        running.stdin.write(b"x")
        running.stdin.flush()
        while count_waiting(running.stdin.fileno()):
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == ExitCode.INTERRUPTED
    assert not Path("out/k").exists()


def count_waiting(pipe: int) -> int:
    """Return the number of bytes that nothing has read yet."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("-", "-"), 2, "both -"),
        (("-", "out/"), 2, "needs one object"),
        (("in/*", "-"), 2, "needs one object"),
        (("absent", "-"), 1, "there is no such object"),
        (("-", "out/k", "--delete"), 2, "--delete has no effect with -"),
        (("-", "out/k", "--include", "a"), 2, "--include has no effect with -"),
        (("-", "out/k", "--dry-run"), 2, "--dry-run has no effect with -"),
    ],
)
def test_what_cannot_be_a_stream_is_refused(cli: Cli, arguments: tuple[str, ...], code: int, message: str) -> None:
    told = cli("copy", *arguments)
    assert (told.code, message in told.err, told.out) == (code, True, ""), told.err


class Lying(MemoryStore):
    """A store that declares the checksum of other bytes."""

    async def head(self, key: str) -> ObjectMeta:
        return replace(await super().head(key), checksums=Checksums(crc32c="00000001"))


async def test_a_wrong_checksum_of_the_source_is_an_error() -> None:
    store = Lying("s", ManualClock())
    await store.write("k", b"data", Attributes(), Checksums())
    with pytest.raises(ChecksumMismatch, match="crc32c"):
        assert [piece async for piece in read_stream(store, "k", InlineOffload())] == [b"data"]


async def test_a_stream_that_breaks_leaves_nothing() -> None:
    store, pieces = MemoryStore("s", ManualClock()), iter([bytes(PART), bytes(PART)])

    async def read(length: int) -> bytes:
        if (piece := next(pieces, None)) is None:
            raise StoreUnavailable("the pipe broke")
        return piece

    with pytest.raises(BaseExceptionGroup):
        await write_stream(store, "k", read, Attributes(), InlineOffload())
    assert ([meta async for meta in store.list()], [upload async for upload in store.uploads()]) == ([], [])


def test_it_overwrites_what_was_there(cli: Cli) -> None:
    Path("out").mkdir()
    Path("out/k").write_text("old")
    assert cli("copy", "-", "out/k", stdin=b"new").code == 0
    assert held("out") == {"k": "new"}
