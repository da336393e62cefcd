"""The live view on a terminal: an observer that counts, drawn several times a second while something changes.

The view fits the terminal: lines are not wrapped, and the list gets shorter if there are few rows.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from io import BytesIO
from statistics import median
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from skyferry.cli.render.output import escape_control, format_duration, format_size
from skyferry.frozen import dataclass
from skyferry.records import Record
from skyferry.status import Status

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

REFRESH = 0.25  # seconds between frames
WINDOW = 5.0  # seconds over which rates are averaged
LAST = 8  # objects in the list
NARROW = 60  # columns below which the list omits the time of day
GAP = "   "  # between two figures
_WORDS = {
    "transfer.done": ("copied", "green"),
    "transfer.skipped": ("skipped", "dim"),
    "transfer.retry": ("retry", "yellow"),
    "transfer.dead": ("dead", "red"),
    "message.dead": ("unreadable", "red"),
}
_ENDED = (
    "transfer.done",
    "transfer.skipped",
    "transfer.retry",
    "transfer.dead",
    "transfer.released",
    "transfer.lease_lost",
)


@dataclass(frozen=True, slots=True)
class ActivityLine:
    """One line of the list."""

    at: str  # time of day
    word: str
    style: str
    what: str
    note: str


class LogTail(BytesIO):
    """Keeps the last few log lines for the view."""

    def __init__(self, keep: int = 4) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=keep)

    def write(self, data: ReadableBuffer, /) -> int:
        self.lines.extend(bytes(data).decode("utf-8", "replace").splitlines())
        return len(bytes(data))


class LiveView:
    """An observer that never blocks: another task draws."""

    def __init__(
        self, tail: LogTail, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`tail` receives the log lines to show; `clock` measures rates, in seconds."""
        self._tail, self._clock = tail, clock
        self._live = Live(console=console or Console(highlight=False), auto_refresh=False)
        self._counts: Counter[str] = Counter()
        self._bytes = 0
        self._lags: deque[float] = deque(maxlen=1000)
        self._last: deque[ActivityLine] = deque(maxlen=LAST)
        self._rates: deque[tuple[float, int, int]] = deque()
        self._status: Status | None = None
        self._introduction: Sequence[str] = ()
        self._size = self._live.console.size  # of the terminal when it was last drawn
        self._active_until = 0.0  # while something changes, and until the rates have settled

    def on(self, record: Record) -> None:
        """Count a record."""
        event = record.event
        self._counts[event] += 1
        self._wake()
        if record.lag is not None:
            self._lags.append(record.lag)
        if event == "transfer.done":
            self._bytes += record.bytes or 0
        if event in _WORDS:
            word, style = _WORDS[event]
            if _is_delete(record):
                word = "deleted"
                self._counts[word] += 1
            self._last.append(
                ActivityLine(time.strftime("%H:%M:%S"), word, style, record.key or record.queue, _note(record))
            )

    def sampled(self, status: Status) -> None:
        """Accept the status of the service."""
        if status != self._status:
            self._status = status
            self._wake()

    def _wake(self) -> None:
        self._active_until = self._clock() + WINDOW + 2 * REFRESH

    @asynccontextmanager
    async def running(self, introduction: Sequence[str]) -> AsyncIterator[None]:
        """Draw below the lines of `introduction` inside the context; the last frame remains."""
        self._introduction = introduction
        self._start()
        drawing = asyncio.create_task(self._draw(), name="live view")
        try:
            yield
        finally:
            drawing.cancel()
            await asyncio.wait([drawing])
            self._live.update(self.render_frame(), refresh=True)
            self.close()

    def close(self) -> None:
        """Restore the terminal. Idempotent."""
        self._live.stop()

    def _start(self) -> None:
        console = self._live.console
        lines = [Text("skyferry", "bold"), *(Text(f"  {escape_control(line)}") for line in self._introduction), Text()]
        console.print(*lines, sep="\n", soft_wrap=True)  # unwrapped, so that a path can be selected
        self._size = console.size
        self._live.start()

    def _restart(self) -> None:
        """Draw everything anew: a terminal wraps old lines in its own way when its size changes."""
        console = self._live.console
        self._live.stop()
        console.clear()
        self._live = Live(console=console, auto_refresh=False)
        self._start()
        self._live.update(self.render_frame(), refresh=True)

    async def _draw(self) -> None:
        while True:
            if self._live.console.size != self._size:
                await asyncio.to_thread(self._restart)
            elif self._clock() < self._active_until:
                frame = self.render_frame()
                await asyncio.to_thread(self._live.update, frame, refresh=True)  # a terminal may be slow or stopped
            await asyncio.sleep(REFRESH)

    def render_frame(self) -> Group:
        """Render the current frame."""
        width, height = self._live.console.size
        head = [*_flow_figures(self._progress(), width), *_flow_figures(self._backlog(), width), Text()]
        logs = [Text(escape_control(line), "yellow", no_wrap=True, overflow="ellipsis") for line in self._tail.lines]
        tail = [Text(), *logs] if logs else []
        return Group(*head, self._list(width, max(1, height - len(head) - len(tail) - 1)), *tail)

    def _progress(self) -> Iterator[Text]:
        n, objects, octets = self._counts, *self._rate()
        yield Text(f"{n['transfer.done'] - n['deleted']:,} copied, {format_size(self._bytes)}", "green")
        if n["deleted"]:
            yield Text(f"{n['deleted']:,} deleted", "green")
        yield Text(f"{objects:,.0f}/s, {format_size(round(octets))}/s")
        yield Text(f"{n['transfer.skipped'] + n['transfer.duplicate']:,} skipped", "dim")
        yield Text(f"{n['transfer.retry']:,} retried", "yellow" if n["transfer.retry"] else "dim")
        dead = n["transfer.dead"] + n["message.dead"]
        yield Text(f"{dead:,} dead", "red" if dead else "dim")

    def _backlog(self) -> Iterator[Text]:
        status = self._status
        flying = max(0, self._counts["transfer.claimed"] - sum(self._counts[event] for event in _ENDED))
        yield Text(f"{flying:,} in flight")
        if self._lags:
            yield Text(f"lag {format_duration(median(self._lags))}, at most {format_duration(max(self._lags))}")
        if status:
            waiting = sum(max(0, depth.ready) + max(0, depth.delayed) for depth in status.queues.values())
            yield Text(f"{waiting:,} waiting")
            for store, state in status.breakers.items():
                if state != "closed":
                    yield Text(f"{escape_control(store)}: breaker {state}", "yellow")

    def _list(self, width: int, rows: int) -> Table:
        """Return the last objects, newest first. A long key is cut at its beginning, because the end distinguishes it."""
        grid = Table.grid(padding=(0, 2))
        last = list(reversed(self._last))[:rows]
        timed = width >= NARROW
        taken = max((len(seen.word) + cell_len(seen.note) for seen in last), default=0) + (10 if timed else 0) + 4
        for seen in last:
            what, note = (
                _cut_beginning(escape_control(seen.what), width - taken),
                Text(escape_control(seen.note), "dim", no_wrap=True),
            )
            grid.add_row(*([Text(seen.at, "dim")] if timed else []), Text(seen.word, seen.style), what, note)
        return grid

    def _rate(self) -> tuple[float, float]:
        """Return the recent rates of objects and bytes per second."""
        now, done = self._clock(), self._counts["transfer.done"]
        self._rates.append((now, done, self._bytes))
        while self._rates[0][0] < now - WINDOW:
            self._rates.popleft()
        then, before, octets = self._rates[0]
        seconds = max(now - then, REFRESH)
        return (done - before) / seconds, (self._bytes - octets) / seconds


def _flow_figures(figures: Iterable[Text], width: int) -> list[Text]:
    """Arrange the figures side by side on as many lines as necessary."""
    lines: list[Text] = []
    for figure in figures:
        if not lines or lines[-1].cell_len + len(GAP) + figure.cell_len > width:
            lines.append(Text(no_wrap=True, overflow="ellipsis"))
        else:
            lines[-1].append(GAP)
        lines[-1].append_text(figure)
    return lines


def _cut_beginning(text: str, cells: int) -> Text:
    """Return the text, shortened to its end if it does not fit."""
    if cell_len(text) > cells:
        while text and cell_len(text) >= cells:
            text = text[1:]
        text = f"…{text}"
    return Text(text, no_wrap=True)


def _is_delete(record: Record) -> bool:
    return record.event == "transfer.done" and record.operation == "deleted"


def _note(record: Record) -> str:
    """Return the note next to the key."""
    if record.event == "transfer.done":
        took = f" in {format_duration(record.duration)}" if record.duration is not None else ""
        return took.strip() if _is_delete(record) else f"{format_size(record.bytes)}{took}"
    return record.reason or record.error
