"""Standard streams that are closed, full, or read by none cost lines, and never the service."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from skyferry.cli import streams
from skyferry.cli.streams import OutputLost, TolerantStream

SKYFERRY = f"{sys.executable} -m skyferry"


@pytest.fixture
def full() -> Iterator[int]:
    number = os.open("/dev/full", os.O_WRONLY)
    yield number
    os.close(number)


@pytest.fixture
def broken() -> Iterator[int]:
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


def test_a_full_output_is_reported_once_and_then_lost(full: int) -> None:
    raw = TolerantStream(full, lossy=False)
    with pytest.raises(OutputLost, match="No space left") as caught:
        raw.write(b"x")
    assert not caught.value.broken
    assert raw.write(b"x") == 1, "so that the interpreter's own last flush says nothing"


def test_a_reader_that_went_away_is_reported_as_such(broken: int) -> None:
    with pytest.raises(OutputLost) as caught:
        TolerantStream(broken, lossy=False).write(b"x")
    assert caught.value.broken


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_without_a_character_shows_its_number(encoding: str, tmp_path: Path) -> None:
    """Rather than end a command at its output. JSON stays JSON."""
    (tmp_path / "é✓🚢").write_bytes(b"x")
    env = {**os.environ, "PYTHONIOENCODING": encoding, "LC_ALL": "C.UTF-8"}

    def run(*command: str) -> str:
        return subprocess.check_output([sys.executable, "-m", "skyferry", *command], cwd=tmp_path, env=env).decode(
            encoding
        )

    shown = {"ascii": r"\u00e9\u2713\ud83d\udea2", "latin-1": r"é\u2713\ud83d\udea2"}.get(encoding, "é✓🚢")
    assert shown in run("ls", ".")
    assert json.loads(run("head", "é✓🚢", "--json"))["key"] == "é✓🚢"


def test_a_stream_whose_lines_may_be_lost_never_fails(full: int, broken: int) -> None:
    closed = os.dup(full)
    os.close(closed)
    for number in (full, broken, closed):
        stream = io.TextIOWrapper(io.BufferedWriter(TolerantStream(number, lossy=True)), write_through=True)
        stream.write("x\n" * 10_000)
        stream.flush()


def test_a_reader_that_takes_nothing_delays_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a pager that waits, or a terminal that is stopped; what it takes later comes again."""
    monkeypatch.setattr(streams, "PATIENCE", 0.0)
    read, write = os.pipe()
    raw = TolerantStream(write, lossy=True)
    for _ in range(100):
        raw.write(b"x" * 4096)
    os.read(read, 2**20)
    raw.write(b"again\n")
    assert os.read(read, 2**20).endswith(b"again\n")
    os.close(read)
    os.close(write)


@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        ("| true", 141, ""),
        (">&-", 1, "error: standard output cannot be written: Bad file descriptor\n"),
        (">/dev/full", 1, "error: standard output cannot be written: No space left on device\n"),
        (">/dev/null 2>&-", 0, ""),
    ],
)
def test_a_command_whose_output_is_lost_ends_with_a_code_and_no_traceback(
    redirection: str, code: int, said: str
) -> None:
    script = f"exec 2>&1 9>&1; {SKYFERRY} schema 2>&9 {redirection}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (code, said)


def test_the_service_needs_no_stream(tmp_path: Path) -> None:
    """With none open, the files that it opens would take their numbers."""
    source = tmp_path / "skyferry-data" / "source"
    source.mkdir(parents=True)
    (source / "a.txt").write_text("hello")
    run = f"{SKYFERRY} run --until-idle --listen 127.0.0.1:0 --workspace {source.parent} <&- >&- 2>&-"
    done = subprocess.run(["bash", "-c", run], check=False, timeout=60)
    assert done.returncode == 0
    assert (source.parent / "destination" / "a.txt").read_text() == "hello"
