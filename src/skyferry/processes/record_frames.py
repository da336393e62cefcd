"""Records on their way from a child to the observers of the parent.

A few events make up most of the records. A `Detail` says what is sent of them: all fields if the parent logs debug lines or
traces, those that metrics read if it is a service, and those that the progress reads if it is a copy. A copy gets successful
requests as sums, because it shows only their bytes. Before, two fifths of the work of its parent were records.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Literal

from skyferry.records import Record

Packed = Sequence[Any]  # the event, then the values of its fields
Detail = Literal["all", "metrics", "progress"]
ALL = tuple(field.name for field in fields(Record))[1:]  # `event` is the first
REQUEST = ("store", "operation", "error", "bytes", "duration")
METRICS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "store.request": REQUEST,
        "ledger.request": ("operation", "duration"),
        "event.received": ("reason",),
        "transfer.claimed": ("route", "store", "key", "attempt", "transfer_id"),
    }
)
PROGRESS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"store.request": REQUEST, "transfer.claimed": ("key",), "transfer.done": ("key", "bytes", "reason", "message")}
)
SENT: Mapping[Detail, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"all": MappingProxyType({}), "metrics": METRICS, "progress": PROGRESS}
)
UNREAD = frozenset({"event.received", "ledger.request", "queue.received", "message.acked"})  # by the progress of a copy
ENDS = frozenset({"transfer.done", "transfer.skipped", "transfer.dead"})
_get_all: Callable[[Record], Packed] = attrgetter("event", *ALL)


class RecordBuffer:
    """An observer that packs records until they are taken.

    The end of a transfer is sent at the next turn of the event loop, before its message can be acknowledged: a process that is
    killed then leaves a message that has another one report it.
    """

    MOST = 100_000  # records: a parent that hangs must not fill the memory

    def __init__(self, detail: Detail, send: Callable[[list[Packed]], None] | None = None) -> None:
        """`send` gets the records at the end of a transfer. Without it, all wait to be taken."""
        self._getters = {event: attrgetter("event", *names) for event, names in SENT[detail].items()}
        self._packed: list[Packed] = []
        self._counted = detail == "progress"
        self._sums: dict[tuple[str, str], list[Any]] = {}  # packed records with sums of bytes, by store and operation
        self._send, self._due = send, False
        self._filled = asyncio.Event()
        self.lost = 0  # records that found no room

    def on(self, record: Record) -> None:
        """Pack a record."""
        if len(self._packed) >= self.MOST:
            self.lost += 1
            return
        if self._counted and self._count(record):
            return
        self._packed.append(self._getters.get(record.event, _get_all)(record))
        self._filled.set()
        if self._send is not None and not self._due and record.event in ENDS:
            self._due = True
            asyncio.get_running_loop().call_soon(self._send_now)

    def _count(self, record: Record) -> bool:
        """Leave out what the progress does not read, and add a successful request to those before it. Return False for others."""
        event = record.event
        if event == "store.request" and not record.error:
            of = record.store, record.operation
            if (known := self._sums.get(of)) is None:
                self._packed.append(known := [event, *of, "", 0, None])
                self._filled.set()
                self._sums[of] = known
            known[4] += record.bytes or 0
            return True
        if event in UNREAD:
            return True
        if event not in PROGRESS:
            self._sums.clear()  # such as a retry: a success before it says nothing of what comes after it
        return False

    def _send_now(self) -> None:
        self._due = False
        if self._send is not None and (packed := self.take()):
            self._send(packed)

    def take(self) -> list[Packed]:
        """Return the records since the last call."""
        packed, self._packed = self._packed, []
        self._sums.clear()
        self._filled.clear()
        return packed

    async def wait(self, seconds: float) -> None:
        """Wait until there are records to take, but no longer than this."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._filled.wait()


def unpack_records(packed: Sequence[Packed], worker: str, detail: Detail) -> list[Record]:
    """Return the records, with the id of their worker. `detail` is that of the buffer."""
    return [_unpack(each, worker, SENT[detail]) for each in packed]


def _unpack(packed: Packed, worker: str, names: Mapping[str, tuple[str, ...]]) -> Record:
    if len(packed) > len(ALL):
        record = Record(*packed)
    else:
        record = Record(packed[0], **dict(zip(names[packed[0]], packed[1:], strict=True)))
    object.__setattr__(record, "worker", worker)
    return record
