"""The live view on a terminal: an observer that counts, and a picture of it a few times a second while something changes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from statistics import median
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from skyferry.cli.output import safe, size, span
from skyferry.records import Record
from skyferry.status import Status

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

REFRESH = 0.25  # seconds between pictures
WINDOW = 5.0  # seconds that rates are averaged over
LAST = 8  # objects listed
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
    "transfer.fenced",
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One line of the list."""

    at: float
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

    def __init__(self, tail: Tail, console: Console | None = None, clock: Callable[[], float] = time.time) -> None:
        """`tail` gets the log lines that are worth a look."""
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
            self._last.append(Seen(self._clock(), word, style, record.key or record.queue, _note(record)))

    def sampled(self, status: Status) -> None:
        """How the service stands."""
        if status != self._status:
            self._status = status
            self._stir()

    def _stir(self) -> None:
        self._active_until = self._clock() + WINDOW + 2 * REFRESH

    @asynccontextmanager
    async def running(self, told: Sequence[str]) -> AsyncIterator[None]:
        """Draw while inside; the last picture stays."""
        self._live.start()
        drawing = asyncio.create_task(self._draw(told), name="live view")
        try:
            yield
        finally:
            drawing.cancel()
            await asyncio.wait([drawing])
            self._live.update(self.picture(told), refresh=True)
            self.close()

    def close(self) -> None:
        """Leave the terminal as it was. Idempotent."""
        self._live.stop()

    async def _draw(self, told: Sequence[str]) -> None:
        while True:
            if self._clock() < self._active_until:
                picture = self.picture(told)
                await asyncio.to_thread(self._live.update, picture, refresh=True)  # a terminal may be slow, or stopped
            await asyncio.sleep(REFRESH)

    def picture(self, told: Sequence[str]) -> Group:
        """All of it, as it is now."""
        lines = [Text("skyferry", "bold"), *(Text(f"  {safe(line)}") for line in told), Text()]
        lines += [self._progress(), self._backlog(), Text()]
        logs = [Text(safe(line), "yellow", no_wrap=True, overflow="ellipsis") for line in self._tail.lines]
        return Group(*lines, self._list(), *([Text(), *logs] if logs else []))

    def _progress(self) -> Text:
        n, objects, octets = self._counts, *self._rate()
        text = Text(f"{n['transfer.done']:,} copied, {size(self._bytes)}", "green")
        text.append(f"   {objects:,.0f}/s, {size(round(octets))}/s", "default")
        text.append(f"   {n['transfer.skipped'] + n['transfer.duplicate']:,} skipped", "dim")
        text.append(f"   {n['transfer.retry']:,} retried", "yellow" if n["transfer.retry"] else "dim")
        dead = n["transfer.dead"] + n["message.dead"]
        return text.append(f"   {dead:,} given up", "red" if dead else "dim")

    def _backlog(self) -> Text:
        status = self._status
        flying = max(0, self._counts["transfer.claimed"] - sum(self._counts[event] for event in _ENDED))
        text = Text(f"{flying:,} in flight")
        if self._lags:
            text.append(f"   lag {span(median(self._lags))}, at most {span(max(self._lags))}")
        if status:
            waiting = sum(max(0, depth.ready) + max(0, depth.delayed) for depth in status.queues.values())
            text.append(f"   {waiting:,} waiting")
            for store, state in status.breakers.items():
                if state != "closed":
                    text.append(f"   {safe(store)}: breaker {state}", "yellow")
        return text

    def _list(self) -> Table:
        grid = Table.grid(padding=(0, 2))
        for seen in reversed(self._last):
            at = time.strftime("%H:%M:%S", time.localtime(seen.at))
            grid.add_row(
                Text(at, "dim"), Text(seen.word, seen.style), Text(safe(seen.what)), Text(safe(seen.note), "dim")
            )
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


def _note(record: Record) -> str:
    """What is worth knowing beside the key."""
    if record.event == "transfer.done":
        took = f" in {span(record.duration)}" if record.duration is not None else ""
        return f"deleted{took}" if record.operation == "deleted" else f"{size(record.bytes)}{took}"
    return record.reason or record.error
