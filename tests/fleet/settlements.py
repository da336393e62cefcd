"""Settlements in the logs of the workers, and those that a ledger may have forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

DONE, SKIPPED, DEAD, MESSAGE_DEAD = "transfer.done", "transfer.skipped", "transfer.dead", "message.dead"
LATE = 2.0  # seconds between a settlement and its line in the log, at most


@dataclass(frozen=True, slots=True)
class Settlement:
    """One line of a log."""

    event: str
    time: float  # seconds since 1970, by this machine's clock
    transfer_id: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Loss:
    """A time whose writes the ledger may have lost, in seconds since 1970."""

    begin: float
    end: float

    def has(self, settlement: Settlement) -> bool:
        """Return True if the ledger may have lost what this line reports."""
        return self.begin <= settlement.time <= self.end + LATE


def read_settlements(logs: Mapping[Path, int]) -> Iterator[Settlement]:
    """Yield the settlements in the logs. The clock of each log is so many seconds ahead."""
    marks = [f'"{event}"'.encode() for event in (DONE, SKIPPED, DEAD, MESSAGE_DEAD)]
    for path, ahead in logs.items():
        for line in path.read_bytes().splitlines():
            if any(mark in line for mark in marks):
                try:
                    said = json.loads(line)
                except ValueError:
                    continue  # cut off by a kill
                at = datetime.fromisoformat(said["time"]).timestamp() - ahead
                yield Settlement(said["event"], at, said.get("transfer_id", ""), said.get("key", ""))


def find_forgotten(settlements: Iterable[Settlement], losses: Sequence[Loss]) -> list[Settlement]:
    """Return the settlements that the ledger may have lost."""
    return [one for one in settlements if any(loss.has(one) for loss in losses)]
