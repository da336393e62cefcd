"""Records as compact JSON, and back: arrays in the order of the fields.

New fields are added at the end only, and unknown ones there are ignored: the release after this one may use the same ledger.
"""

from __future__ import annotations

import base64
import struct
from dataclasses import replace
from typing import Any

import orjson

from skyferry.ledgers.rules import COUNTED, TICKS
from skyferry.model import (
    Attributes,
    Change,
    Checksums,
    Failure,
    ObjectMeta,
    ObjectRef,
    Part,
    Placement,
    Position,
    Priority,
    Progress,
    Provider,
    Receipt,
    State,
    Transfer,
    Upload,
)
from skyferry.ports import DeadLetter, Heartbeat, Refusal, TransferRow, WorkerState, joins

STATES = (
    State.CLAIMED,
    State.RETRY,
    State.DONE,
    State.SKIPPED,
    State.DEAD,
    State.DISCARDED,
)  # by their numbers in a ledger
NUMBER = {state: number for number, state in enumerate(STATES)}


def pack_json(value: Any) -> str:
    """Encode as JSON."""
    return orjson.dumps(value).decode()


def split_id(transfer_id: str) -> tuple[int, int]:
    """Return a transfer's id as two signed integers of 64 bits. Raises ValueError."""
    try:
        high, low = _ID.unpack(bytes.fromhex(transfer_id))
    except struct.error:
        raise ValueError(transfer_id) from None
    return high, low


def join_id(high: int, low: int) -> str:
    """Return the id of these halves."""
    return _ID.pack(high, low).hex()


def span_ids(prefix: str) -> tuple[bytes, bytes] | None:
    """Return the first and the last id that begin with these hexadecimal digits; None if there can be none."""
    if len(prefix) > 2 * _ID.size or not set(prefix) <= set("0123456789abcdef"):
        return None
    return bytes.fromhex(prefix.ljust(2 * _ID.size, "0")), bytes.fromhex(prefix.ljust(2 * _ID.size, "f"))


_ID = struct.Struct(">qq")
_PROVIDERS = {str(provider): provider for provider in Provider}  # calling the class takes five times as long


def to_seconds(ticks: int) -> float:
    """Convert a time of the file."""
    return ticks / TICKS


def pack_transfer(t: Transfer) -> str:
    """Encode a transfer."""
    fields = (
        t.id, t.route, t.change, pack_ref(t.source), t.source_store, t.store, t.key, t.event_id, t.correlation_id, t.occurred_at,
        _position(t.position), t.size, _checksums(t.checksums), t.content_type, t.max_retries, t.priority, t.traceparent,
    )  # fmt: skip
    return pack_json(fields)


def unpack_transfer(text: str) -> Transfer:
    """Decode a transfer."""
    name, route, change, source, source_store, store, key, event, correlation, at, position, size, sums, *rest = (
        orjson.loads(text)
    )
    content_type, max_retries, priority, traceparent, *_ = rest
    return Transfer(
        id=name,
        route=route,
        change=Change(change),
        source=unpack_ref(source),
        source_store=source_store,
        store=store,
        key=key,
        event_id=event,
        correlation_id=correlation,
        occurred_at=at,
        position=_to_position(position),
        size=size,
        checksums=_to_checksums(sums),
        content_type=content_type,
        max_retries=max_retries,
        priority=Priority(priority),
        traceparent=traceparent,
    )


def pack_receipt(r: Receipt) -> str:
    """Encode a receipt."""
    sums = (_checksums(r.computed), _checksums(r.declared), _checksums(r.attested))
    times = (r.started_at, r.finished_at)
    fields = (r.source_version, r.destination_version, r.size, *sums, _position(r.position), *times, r.attempt)
    return pack_json((*fields, r.in_place, r.changes) if r.in_place or r.changes else fields)


def unpack_receipt(text: str) -> Receipt:
    """Decode a receipt."""
    source, destination, size, computed, declared, attested, position, started, finished, attempt, *rest = orjson.loads(
        text
    )
    return Receipt(
        source_version=source,
        destination_version=destination,
        size=size,
        computed=_to_checksums(computed),
        declared=_to_checksums(declared),
        attested=_to_checksums(attested),
        position=_to_position(position),
        started_at=started,
        finished_at=finished,
        attempt=attempt,
        in_place=bool(rest[0]) if rest else False,
        changes=tuple(rest[1]) if len(rest) > 1 else (),
    )


def pack_placement(p: Placement) -> str:
    """Encode a placement without store and key, which are columns."""
    positions = [str(position) for position in p.positions]
    last = (p.settled_at, p.identity, *((p.carried,) if p.carried else ()))
    return pack_json((pack_ref(p.source), p.deleted, positions, p.occurred_at, p.version, p.transfer_id, *last))


def unpack_placement(store: str, key: str, text: str) -> Placement:
    """Decode a placement."""
    return build_placement(store, key, orjson.loads(text))


def build_placement(store: str, key: str, fields: list[Any]) -> Placement:
    """Return a placement of decoded JSON.

    Older files kept positions from events. They are dropped, because only seen positions count.
    """
    source, deleted, positions, *rest = fields
    seen = tuple([Position.parse(text) for text in positions]) if len(rest) > 4 else ()
    return Placement(store, key, unpack_ref(source), deleted, seen, *rest[:6])


def is_current(store: str, key: str, fields: list[Any], source: ObjectRef, meta: ObjectMeta) -> bool:
    """Call `joins.is_current` for a placement of decoded JSON. If all fields are equal, no placement is built."""
    ref, deleted, positions = fields[0], fields[1], fields[2]
    position = meta.position
    if (
        ref[4] == meta.version
        and ref[2] == meta.key
        and ref[1] == source.bucket
        and ref[0] == source.provider
        and (len(ref) == 5 or ref[5] == source.account)
        and (position is None or positions == [f"{position.scheme}:{position.value}"])
    ):
        return not deleted
    return joins.is_current(build_placement(store, key, fields), source, meta)


def pack_failure(f: Failure) -> str:
    """Encode a failure."""
    return pack_json(_failure(f))


def unpack_failure(text: str) -> Failure:
    """Decode a failure."""
    return build_failure(orjson.loads(text))


def build_failure(fields: list[Any]) -> Failure:
    """Return a failure of decoded JSON."""
    return Failure(*fields[:5])


def pack_letter(letter: DeadLetter) -> str:
    """Encode a letter without `redriven_at`, which is a column."""
    body = base64.b64encode(letter.body).decode()
    attempts = [_failure(f) for f in letter.attempts]
    head = (letter.id, letter.at, letter.queue, letter.reason, letter.message, letter.hint, body, letter.attributes)
    return pack_json((*head, letter.route, letter.source, letter.key, letter.event_id, letter.correlation_id, attempts))


def unpack_letter(text: str, redriven_at: int | None) -> DeadLetter:
    """Decode a letter."""
    fields = orjson.loads(text)[:14]
    fields[6] = base64.b64decode(fields[6])
    fields[7] = tuple((name, value) for name, value in fields[7])
    fields[13] = tuple(build_failure(failure) for failure in fields[13])
    return DeadLetter(*fields, *(() if redriven_at is None else (to_seconds(redriven_at),)))


def unpack_row(
    transfer: str,
    number: int,
    reason: str,
    burned: int,
    lost: int,
    created: int,
    updated: int,
    due: int | None,
    receipt: str | None,
) -> TransferRow:
    """Decode a transfer with its state; times are in ticks."""
    state = STATES[number]
    return TransferRow(
        unpack_transfer(transfer),
        state,
        reason,
        burned + (state in COUNTED),
        lost,
        to_seconds(created),
        to_seconds(updated),
        None if due is None else to_seconds(due),
        unpack_receipt(receipt) if receipt else None,
    )


def pack_progress(p: Progress) -> str:
    """Encode an upload without store and key, which are columns, and without parts, which are rows."""
    u, a = p.upload, p.upload.attributes
    texts = (a.content_type, a.content_encoding, a.content_language, a.content_disposition, a.cache_control)
    added = [a.modes, (a.expires, a.website_redirect, a.mtime)] if a.modes or a.expires or a.website_redirect else []
    attributes = (*texts, dict(a.metadata), dict(a.tags), a.storage_class, *added)
    return pack_json((u.id, u.size, u.part_size, attributes, u.started_at, pack_ref(p.source), u.secret))


def unpack_progress(store: str, key: str, age: int, text: str, parts: list[str]) -> Progress:
    """Decode an upload, last saved `age` ticks ago."""
    name, size, part_size, attributes, started_at, source, *secret = orjson.loads(text)  # older ledgers have no secret,
    described = Attributes(*attributes[:8])
    if len(attributes) > 8:  # and neither permissions nor what was added later
        described = replace(described, modes=tuple(attributes[8]))
    if len(attributes) > 9:
        expires, redirect, mtime, *_ = attributes[9]
        described = replace(described, expires=expires, website_redirect=redirect, mtime=mtime)
    upload = Upload(name, key, size, part_size, described, started_at, *secret[:1])
    sent = tuple(Part(*orjson.loads(part)[:5]) for part in parts)
    return Progress(store, upload, unpack_ref(source), sent, to_seconds(age))


def pack_part(part: Part) -> str:
    """Encode a part of an upload."""
    return pack_json((part.number, part.offset, part.size, part.tag, part.crc32c))


def pack_refusal(r: Refusal) -> str:
    """Encode a refused event."""
    return pack_json((pack_ref(r.source), r.change, r.event_id, r.occurred_at, r.at, r.rules))


def unpack_refusal(text: str) -> Refusal:
    """Decode a refused event."""
    source, change, event_id, occurred_at, at, pairs, *_ = orjson.loads(text)
    refused_by = tuple((route, rule) for route, rule in pairs)
    return Refusal(unpack_ref(source), Change(change), event_id, occurred_at, at, refused_by)


def _failure(f: Failure) -> tuple[Any, ...]:
    return f.attempt, f.at, f.kind, f.message, f.counts_as_attempt


def pack_ref(r: ObjectRef) -> tuple[str, ...]:
    """Encode a reference to an object."""
    named = (r.provider, r.bucket, r.key, r.region, r.version)
    return (*named, r.account) if r.account else named


def unpack_ref(fields: list[str]) -> ObjectRef:
    """Decode a reference to an object."""
    provider, *rest = fields
    return ObjectRef(_PROVIDERS[provider], *rest[:5])


def _position(position: Position | None) -> str | None:
    return None if position is None else f"{position.scheme}:{position.value}"


def _to_position(text: str | None) -> Position | None:
    return None if text is None else Position.parse(text)


def _checksums(c: Checksums) -> tuple[str, ...]:
    return c.crc32c, c.sha256, c.md5, c.crc64nvme


def _to_checksums(fields: list[str]) -> Checksums:
    return Checksums(*fields[:4])


def pack_heartbeat(h: Heartbeat) -> str:
    """Encode a heartbeat."""
    return pack_json((h.host, h.version, h.region, h.age, h.state, h.holds, h.keys, h.routes, h.queues))


def unpack_heartbeat(text: str) -> Heartbeat:
    """Decode a heartbeat. A newer release may have added states: their workers count as running. An older one has no digests."""
    fields: list[Any] = [*orjson.loads(text), "", ""]
    host, version, region, age, name, holds, keys, routes, queues, *_ = fields
    state = WorkerState(name) if name in WorkerState._value2member_map_ else WorkerState.RUNNING
    taken = tuple((store, key) for store, key in keys)
    return Heartbeat(host, version, region, age, state, holds, taken, routes, queues)
