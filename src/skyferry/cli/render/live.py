"""The live view on a terminal: an observer that counts, and a picture of it a few times a second while something changes.

The picture takes the room that there is: no line is broken, and where rows are few, the list is what gets shorter.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from statistics import median
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from skyferry.cli.render.output import safe, size, span
from skyferry.records import Record
from skyferry.status import Status

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

REFRESH = 0.25  # seconds between pictures
WINDOW = 5.0  # seconds that rates are averaged over
LAST = 8  # objects listed
NARROW = 60  # columns below which the list does without times of day
GAP = "   "  # between two figures
_WORDS = {
    "transfer.done": ("copied", "green"),
    "transfer.skipped": ("skipped", "dim"),
    "transfer.retry": ("retry", "yellow"),
    "transfer.dead": ("given up", "red"),
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
class Seen:
    """One line of the list."""

    at: str  # time of day
    word: str
    style: str
    what: str
    note: str


class Tail(BytesIO):
    """Takes log lines; keeps the last few for the view."""

    def __init__(self, keep: int = 4) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=keep)

    def write(self, data: ReadableBuffer, /) -> int:
        self.lines.extend(bytes(data).decode("utf-8", "replace").splitlines())
        return len(bytes(data))


class LiveView:
    """An `Observer`. It never blocks: pictures are drawn elsewhere."""

    def __init__(self, tail: Tail, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """`tail` gets the log lines that are worth a look; `clock` is what rates are measured by, in seconds."""
        self._tail, self._clock = tail, clock
        self._live = Live(console=console or Console(highlight=False), auto_refresh=False)
        self._counts: Counter[str] = Counter()
        self._bytes = 0
        self._lags: deque[float] = deque(maxlen=1000)
        self._last: deque[Seen] = deque(maxlen=LAST)
        self._rates: deque[tuple[float, int, int]] = deque()
        self._status: Status | None = None
        self._active_until = 0.0  # while something changes, and until the rates have sunk to what they are then

    def on(self, record: Record) -> None:
        """Count."""
        event = record.event
        self._counts[event] += 1
        self._stir()
        if record.lag is not None:
            self._lags.append(record.lag)
        if event == "transfer.done":
            self._bytes += record.bytes or 0
        if event in _WORDS:
            word, style = _WORDS[event]
            self._last.append(Seen(time.strftime("%H:%M:%S"), word, style, record.key or record.queue, _note(record)))

    def sampled(self, status: Status) -> None:
        """How the service stands."""
        if status != self._status:
            self._status = status
            self._stir()

    def _stir(self) -> None:
        self._active_until = self._clock() + WINDOW + 2 * REFRESH

    @asynccontextmanager
    async def running(self, told: Sequence[str]) -> AsyncIterator[None]:
        """Draw below what is `told`, while inside; the last picture stays."""
        lines = [Text("skyferry", "bold"), *(Text(f"  {safe(line)}") for line in told), Text()]
        self._live.console.print(*lines, sep="\n", soft_wrap=True)  # a path stays one, to be copied
        self._live.start()
        drawing = asyncio.create_task(self._draw(), name="live view")
        try:
            yield
        finally:
            drawing.cancel()
            await asyncio.wait([drawing])
            self._live.update(self.picture(), refresh=True)
            self.close()

    def close(self) -> None:
        """Leave the terminal as it was. Idempotent."""
        self._live.stop()

    async def _draw(self) -> None:
        while True:
            if self._clock() < self._active_until:
                picture = self.picture()
                await asyncio.to_thread(self._live.update, picture, refresh=True)  # a terminal may be slow, or stopped
            await asyncio.sleep(REFRESH)

    def picture(self) -> Group:
        """All of it, as it is now."""
        width, height = self._live.console.size
        head = [*_flowing(self._progress(), width), *_flowing(self._backlog(), width), Text()]
        logs = [Text(safe(line), "yellow", no_wrap=True, overflow="ellipsis") for line in self._tail.lines]
        tail = [Text(), *logs] if logs else []
        return Group(*head, self._list(width, max(1, height - len(head) - len(tail) - 1)), *tail)

    def _progress(self) -> Iterator[Text]:
        n, objects, octets = self._counts, *self._rate()
        yield Text(f"{n['transfer.done']:,} copied, {size(self._bytes)}", "green")
        yield Text(f"{objects:,.0f}/s, {size(round(octets))}/s")
        yield Text(f"{n['transfer.skipped'] + n['transfer.duplicate']:,} skipped", "dim")
        yield Text(f"{n['transfer.retry']:,} retried", "yellow" if n["transfer.retry"] else "dim")
        dead = n["transfer.dead"] + n["message.dead"]
        yield Text(f"{dead:,} given up", "red" if dead else "dim")

    def _backlog(self) -> Iterator[Text]:
        status = self._status
        flying = max(0, self._counts["transfer.claimed"] - sum(self._counts[event] for event in _ENDED))
        yield Text(f"{flying:,} in flight")
        if self._lags:
            yield Text(f"lag {span(median(self._lags))}, at most {span(max(self._lags))}")
        if status:
            waiting = sum(max(0, depth.ready) + max(0, depth.delayed) for depth in status.queues.values())
            yield Text(f"{waiting:,} waiting")
            for store, state in status.breakers.items():
                if state != "closed":
                    yield Text(f"{safe(store)}: breaker {state}", "yellow")

    def _list(self, width: int, rows: int) -> Table:
        """The last objects, newest first; of a key that is too long the end is what tells it from others."""
        grid = Table.grid(padding=(0, 2))
        last = list(reversed(self._last))[:rows]
        timed = width >= NARROW
        beside = max((len(seen.word) + cell_len(seen.note) for seen in last), default=0) + (10 if timed else 0) + 4
        for seen in last:
            what, note = _ending(safe(seen.what), width - beside), Text(safe(seen.note), "dim", no_wrap=True)
            grid.add_row(*([Text(seen.at, "dim")] if timed else []), Text(seen.word, seen.style), what, note)
        return grid

    def _rate(self) -> tuple[float, float]:
        """Objects and bytes per second, lately."""
        now, done = self._clock(), self._counts["transfer.done"]
        self._rates.append((now, done, self._bytes))
        while self._rates[0][0] < now - WINDOW:
            self._rates.popleft()
        then, before, octets = self._rates[0]
        seconds = max(now - then, REFRESH)
        return (done - before) / seconds, (self._bytes - octets) / seconds


def _flowing(figures: Iterable[Text], width: int) -> list[Text]:
    """Side by side on as many lines as it takes."""
    lines: list[Text] = []
    for figure in figures:
        if not lines or lines[-1].cell_len + len(GAP) + figure.cell_len > width:
            lines.append(Text(no_wrap=True, overflow="ellipsis"))
        else:
            lines[-1].append(GAP)
        lines[-1].append_text(figure)
    return lines


def _ending(text: str, cells: int) -> Text:
    """The end of it, if it does not fit."""
    if cell_len(text) > cells:
        while text and cell_len(text) >= cells:
            text = text[1:]
        text = f"…{text}"
    return Text(text, no_wrap=True)


def _note(record: Record) -> str:
    """What is worth knowing beside the key."""
    if record.event == "transfer.done":
        took = f" in {span(record.duration)}" if record.duration is not None else ""
        return f"deleted{took}" if record.operation == "deleted" else f"{size(record.bytes)}{took}"
    return record.reason or record.error
