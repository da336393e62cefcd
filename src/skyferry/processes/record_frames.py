"""Records on their way from a child to the observers of the parent.

A few events make up most of the records. Of these, only the fields that metrics and progress read are sent; all fields if
the parent logs debug lines or traces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from types import MappingProxyType
from typing import Any

from skyferry.records import Record

Packed = tuple[Any, ...]  # the event, then the values of its fields
ALL = tuple(field.name for field in fields(Record))[1:]  # `event` is the first
SHORT: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "store.request": ("store", "operation", "error", "bytes", "duration"),
        "event.received": ("reason",),
        "transfer.claimed": ("route", "store", "key", "attempt", "transfer_id"),
    }
)
_getters: Mapping[str, Callable[[Record], Packed]] = {
    event: attrgetter("event", *names) if len(names) else attrgetter("event") for event, names in SHORT.items()
}
_get_all: Callable[[Record], Packed] = attrgetter("event", *ALL)


class RecordBuffer:
    """An observer that packs records until they are taken."""

    MOST = 100_000  # records: a parent that hangs must not fill the memory

    def __init__(self, *, full: bool) -> None:
        self._getters = {} if full else _getters
        self._packed: list[Packed] = []
        self.lost = 0  # records that found no room

    def on(self, record: Record) -> None:
        """Pack a record."""
        if len(self._packed) >= self.MOST:
            self.lost += 1
            return
        self._packed.append(self._getters.get(record.event, _get_all)(record))

    def take(self) -> list[Packed]:
        """Return the records since the last call."""
        packed, self._packed = self._packed, []
        return packed


def unpack_records(packed: Sequence[Packed], worker: str) -> list[Record]:
    """Return the records, with the id of their worker."""
    return [_unpack(each, worker) for each in packed]


def _unpack(packed: Packed, worker: str) -> Record:
    event, *values = packed
    names = SHORT[event] if len(values) < len(ALL) else ALL
    record = Record(event, **dict(zip(names, values, strict=True)))
    object.__setattr__(record, "worker", worker)
    return record
