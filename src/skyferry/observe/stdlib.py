"""Write the logs of libraries (uvicorn, watchfiles, asyncio, warnings) in Skyferry's own format."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from skyferry.observe.logs import Level, mask_credentials

EVENT = "library.log"


class LineWriter(Protocol):
    """A log that takes lines, such as a `LogObserver`."""

    @property
    def level(self) -> Level:
        """The lowest level that is written."""

    def write(self, event: str, level: Level, values: Mapping[str, object]) -> None:
        """Write one line. Thread-safe."""


class _Handler(logging.Handler):
    def __init__(self, lines: LineWriter) -> None:
        super().__init__()
        self._lines = lines
        self._traceback = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        values = {"logger": record.name, "message": mask_credentials(_message(record))}
        if record.exc_info and record.exc_info[0]:
            values["error"] = record.exc_info[0].__name__
            values["traceback"] = mask_credentials(self._traceback.formatException(record.exc_info))
        self._lines.write(EVENT, _level(record.levelno), values)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - a library's faulty format string must not stop the service
        return str(record.msg)


def _level(number: int) -> Level:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"


@contextmanager
def capture_stdlib(lines: LineWriter) -> Iterator[None]:
    """Send the standard library's logging and warnings to `lines` as event `library.log` inside the context.

    Records below `warning` are dropped; if the level of `lines` is `debug`, records below `info`.
    """
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers[:] = [_Handler(lines)]
    root.setLevel(logging.INFO if lines.level == "debug" else max(logging.WARNING, _number(lines.level)))
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = before
        root.setLevel(level)


def _number(level: Level) -> int:
    return logging.getLevelNamesMapping()[level.upper()]
