"""The live view counts what it hears, and its picture says so."""

from __future__ import annotations

import asyncio
import io

import pytest
from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions

from skyferry.cli.render.live import LAST, LiveView, LogTail
from skyferry.model import State
from skyferry.ports import Depth
from skyferry.records import Record
from skyferry.status import Status

TOLD = ["drop files into /data/source", "open http://127.0.0.1:8080/docs"]


class Clock:
    def __init__(self) -> None:
        self.now = 1_795_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def view(clock: Clock) -> LiveView:
    return made(clock, 100, 25)


def made(clock: Clock, width: int, height: int) -> LiveView:
    return LiveView(LogTail(), Console(file=io.StringIO(), width=width, height=height), clock)


def drawn(view: LiveView, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(view.render_frame())
    text = console.file
    assert isinstance(text, io.StringIO)
    return text.getvalue()


def done(key: str, size: int = 1024, lag: float = 0.2) -> Record:
    return Record("transfer.done", key=key, bytes=size, duration=0.05, lag=lag)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_broken_and_the_end_of_a_key_is_seen_however_wide_the_terminal_is(clock: Clock, width: int) -> None:
    view = made(clock, width, 25)
    for number in range(3):
        view.on(done(f"some/long folder/with/a name of many words that goes on and on and on/{number}.txt", lag=70))
    view.sampled(status(breakers={"a-store-with-a-long-name-of-its-own": "open"}))
    lines = drawn(view, width).splitlines()
    assert max(map(cell_len, lines)) <= width
    assert all("copied" in line and "1.0 KiB in 50 ms" in line for line in lines[-3:])
    assert [line.split(".txt")[0][-1] for line in lines[-3:]] == ["2", "1", "0"]
    figures = [figure for line in lines[:-3] for figure in line.rstrip().split("   ")]
    assert {"3 copied, 3.0 KiB", "0 skipped", "0 retried", "0 in flight", "7 waiting"} <= set(figures)


def test_on_few_rows_the_figures_and_the_warnings_stay_and_the_list_gets_shorter(clock: Clock) -> None:
    tail = LogTail()
    view = LiveView(tail, Console(file=io.StringIO(), width=80, height=10), clock)
    for number in range(LAST):
        view.on(done(f"key-{number}"))
    tail.write(b"one\ntwo\nthree\nfour\n")
    lines = drawn(view, 80).splitlines()
    assert len(lines) < 10
    assert "copied" in lines[0]
    assert f"key-{LAST - 1}" in lines[3]
    assert lines[-1].rstrip() == "four"


def status(breakers: dict[str, str]) -> Status:
    queues = {"events": Depth(ready=5, leased=1, delayed=2, oldest_age=9.0)}
    return Status("1", 0.0, "running", 1, queues, dict.fromkeys(State, 0), 0, breakers)


def test_outcomes_are_counted(view: LiveView) -> None:
    for event in (
        "transfer.done",
        "transfer.skipped",
        "transfer.duplicate",
        "transfer.retry",
        "transfer.dead",
        "message.dead",
    ):
        view.on(Record(event, key="k", bytes=2048))
    text = drawn(view)
    assert "1 copied, 2.0 KiB" in text
    assert "2 skipped" in text
    assert "1 retried" in text
    assert "2 dead" in text


def test_in_flight_is_what_was_claimed_and_has_not_ended(view: LiveView) -> None:
    for _ in range(3):
        view.on(Record("transfer.claimed", key="k"))
    view.on(done("k"))
    assert "2 in flight" in drawn(view)


def test_the_last_objects_are_listed_newest_first(view: LiveView) -> None:
    for number in range(LAST + 1):
        view.on(done(f"key-{number}"))
    text = drawn(view)
    assert "key-0 " not in text
    assert text.index(f"key-{LAST}") < text.index("key-1 ")


def test_rates_are_of_the_last_seconds_and_sink_to_nothing(view: LiveView, clock: Clock) -> None:
    drawn(view)
    for _ in range(20):
        view.on(done("k"))
    clock.now += 2
    assert "10/s, 10.0 KiB/s" in drawn(view)
    clock.now += 60
    assert "0/s, 0 B/s" in drawn(view)


def test_lag_waiting_and_breakers_are_shown(view: LiveView) -> None:
    view.on(done("k", lag=0.2))
    view.on(done("k", lag=3.0))
    view.sampled(status(breakers={"source": "closed", "destination": "open"}))
    text = drawn(view)
    assert "at most 3.0 s" in text
    assert "7 waiting" in text
    assert "destination: breaker open" in text
    assert "source: breaker" not in text


def test_a_key_cannot_colour_the_terminal(view: LiveView) -> None:
    view.on(done("evil\x1b[31m[red]key"))
    text = drawn(view)
    assert "\x1b" not in text
    assert "evil\\x1b[31m[red]key" in text


def test_the_last_log_lines_are_kept_and_no_more() -> None:
    tail = LogTail(keep=2)
    tail.write(b"one\ntwo\n")
    tail.write(b"three\n")
    assert list(tail.lines) == ["two", "three"]


def test_deletes_are_not_counted_as_copies(view: LiveView) -> None:
    view.on(done("a.txt"))
    view.on(Record("transfer.done", key="b.txt", operation="deleted", duration=0.05))
    text = drawn(view)
    assert "1 copied, 1.0 KiB" in text
    assert "1 deleted" in text
    assert [line.split()[1:3] for line in text.splitlines() if ".txt" in line] == [
        ["deleted", "b.txt"],
        ["copied", "a.txt"],
    ]


async def test_after_a_change_of_size_everything_is_drawn_anew(clock: Clock) -> None:
    console = Console(file=io.StringIO(), width=100, height=25, force_terminal=True)
    assert isinstance(console.file, io.StringIO)
    view = LiveView(LogTail(), console, clock)
    async with view.running(TOLD):
        view.on(done("seen.txt"))
        clock.now += 1000  # nothing changes any more
        console.size = ConsoleDimensions(50, 20)
        while "\x1b[2J" not in console.file.getvalue():
            await asyncio.sleep(0.01)
        _, _, after = console.file.getvalue().rpartition("\x1b[2J")
        while "seen.txt" not in after:
            await asyncio.sleep(0.01)
            _, _, after = console.file.getvalue().rpartition("\x1b[2J")
    assert [line for line in TOLD if line not in after] == []


async def test_while_inside_it_is_drawn_and_the_last_picture_stays(clock: Clock) -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    view = LiveView(LogTail(), console, clock)
    async with view.running(TOLD):
        view.on(done("seen.txt"))
    assert isinstance(console.file, io.StringIO)
    assert all(line in console.file.getvalue() for line in [*TOLD, "seen.txt"])
    assert console.file.getvalue().endswith("\x1b[?25h"), "the cursor is back"
