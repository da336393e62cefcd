"""Records on their way from a child to the observers of the parent.

A few events make up most of the records. Of these, only the fields that metrics and progress read are sent; all fields if
the parent logs debug lines or traces.
"""

from __future__ import annotations

import asyncio
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
        "ledger.request": ("operation", "duration"),
        "event.received": ("reason",),
        "transfer.claimed": ("route", "store", "key", "attempt", "transfer_id"),
    }
)
ENDS = frozenset({"transfer.done", "transfer.skipped", "transfer.dead"})
_getters: Mapping[str, Callable[[Record], Packed]] = {
    event: attrgetter("event", *names) if len(names) else attrgetter("event") for event, names in SHORT.items()
}
_get_all: Callable[[Record], Packed] = attrgetter("event", *ALL)


class RecordBuffer:
    """An observer that packs records until they are taken.

    The end of a transfer is sent at the next turn of the event loop, before its message can be acknowledged: a process that is
    killed then leaves a message that has another one report it.
    """

    MOST = 100_000  # records: a parent that hangs must not fill the memory

    def __init__(self, *, full: bool, send: Callable[[list[Packed]], None] | None = None) -> None:
        """`send` gets the records at the end of a transfer. Without it, all wait to be taken."""
        self._getters = {} if full else _getters
        self._packed: list[Packed] = []
        self._send, self._due = send, False
        self.lost = 0  # records that found no room

    def on(self, record: Record) -> None:
        """Pack a record."""
        if len(self._packed) >= self.MOST:
            self.lost += 1
            return
        self._packed.append(self._getters.get(record.event, _get_all)(record))
        if self._send is not None and not self._due and record.event in ENDS:
            self._due = True
            asyncio.get_running_loop().call_soon(self._send_now)

    def _send_now(self) -> None:
        self._due = False
        if self._send is not None and (packed := self.take()):
            self._send(packed)

    def take(self) -> list[Packed]:
        """Return the records since the last call."""
        packed, self._packed = self._packed, []
        return packed


def unpack_records(packed: Sequence[Packed], worker: str) -> list[Record]:
    """Return the records, with the id of their worker."""
    return [_unpack(each, worker) for each in packed]


def _unpack(packed: Packed, worker: str) -> Record:
    if len(packed) > len(ALL):
        record = Record(*packed)
    else:
        record = Record(packed[0], **dict(zip(SHORT[packed[0]], packed[1:], strict=True)))
    object.__setattr__(record, "worker", worker)
    return record
