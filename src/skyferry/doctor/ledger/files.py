"""The files of ledger and queues: whether they are whole. Blocking."""

from __future__ import annotations

from pathlib import Path

from skyferry.config.settings import QueueSettings, Settings
from skyferry.config.urls import LedgerUrl, QueueUrl
from skyferry.doctor.check import Check, CheckSubject
from skyferry.sqlite.file import examine

REBUILD = "stop the service, then run `skyferry ledger rebuild` or put a backup in its place"
ASIDE = "stop the service, then move the file away with its -wal and -shm files: a new one is made"


def check_ledger_file(settings: Settings) -> list[Check]:
    """Of a ledger that is in a file, if there is one yet."""
    url = LedgerUrl.parse(settings.ledger.url)
    return _whole(CheckSubject("ledger", "ledger"), url.path(settings.workspace), REBUILD) if url.on_disk else []


def check_queue_file(settings: Settings, queue: QueueSettings) -> list[Check]:
    """Of a queue that is in a file, if there is one yet."""
    url = QueueUrl.parse(queue.url)
    return _whole(CheckSubject("queue", queue.name), url.path(settings.workspace), ASIDE) if url.on_disk else []


def _whole(place: CheckSubject, file: Path, hint: str) -> list[Check]:
    if not file.exists():
        return []
    problems = examine(file, quick=True)
    return [place.wrong("whole", "; ".join(problems[:3]), hint) if problems else place.ok("whole", str(file))]
