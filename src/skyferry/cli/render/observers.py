"""The observers of `skyferry run`: metrics, log lines or the live view, and traces."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry

from skyferry.cli.render import output
from skyferry.cli.render.live import LiveView, LogTail
from skyferry.config.settings import Settings
from skyferry.observe import Fanout, LogObserver, MetricsObserver, capture_stdlib
from skyferry.ports import Observer
from skyferry.status import Status


class RunObservers:
    """The observers of one run."""

    def __init__(self, view: LiveView | None, logs: LogObserver, traces: Sequence[Observer]) -> None:
        self.registry = CollectorRegistry()
        self._metrics = MetricsObserver(self.registry)
        self._view, self.logs = view, logs
        seen: list[Observer] = [self._metrics, logs, *traces]
        self.observer: Observer = Fanout([*seen, view] if view else seen)

    @property
    def sampled(self) -> Callable[[Status], None] | None:
        """Accepts the status of the service every second, for the live view."""
        return self._view.sampled if self._view else None

    def attach(self, status: Callable[[], Status]) -> None:
        """Let each scrape of the metrics ask for the last known status."""
        self._metrics.status = status

    @asynccontextmanager
    async def running(self, url: str, folders: Sequence[Path], config: Path | None) -> AsyncIterator[None]:
        """Print the configuration file, the folders and the page of the API; then show the live view inside the context."""
        introduction = [f"configuration {config}"] if config else []
        introduction += [f"drop files into {folder.resolve()}" for folder in folders] + [f"open {url}/docs"]
        if self._view is None:
            output.print_lines(*introduction)
            sys.stdout.flush()
            yield
            return
        async with self._view.running([*introduction, "press Ctrl-C to end"]):
            yield

    def close(self) -> None:
        """Restore the terminal. Idempotent."""
        if self._view:
            self._view.close()


@contextmanager
def open_observers(settings: Settings, live: bool) -> Iterator[RunObservers]:
    """Open the configured observers. Raises ConfigError if tracing is configured and its extra is not installed."""
    log = settings.log
    with ExitStack() as stack:
        tail = LogTail()
        in_view = live and sys.stderr.isatty()  # log lines would break the view
        if in_view:
            level = "warning" if log.level == "info" else log.level
            logs = LogObserver(tail, "text", level)
        else:
            logs = LogObserver(sys.stderr.buffer, log.format, log.level)
        stack.enter_context(capture_stdlib(logs))
        traces: list[Observer] = []
        if settings.tracing.otlp_endpoint:
            from skyferry.observe.traces import TraceObserver

            traces.append(tracer := TraceObserver(settings.tracing))
            stack.callback(tracer.close)
        yield RunObservers(LiveView(tail) if live else None, logs, traces)
