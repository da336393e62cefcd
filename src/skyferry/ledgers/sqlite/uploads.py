"""Uploads under way on SQLite, as functions of a connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import orjson

from skyferry.ledgers import rules
from skyferry.ledgers.sqlite import codec
from skyferry.ledgers.sqlite.codec import pack
from skyferry.model import Attributes, Claim, Part, Progress, Upload
from skyferry.sqlite.statements import named, read, write

SQL = named("uploads.sql")


def save(db: sqlite3.Connection, saves: Sequence[tuple[Claim, Progress]], now: float, held: str) -> list[bool]:
    """See `Ledger.save`. `held` is the query for the places of claims that are still held."""
    places = read(db, held, [(c.transfer.key, c.transfer.store, c.fence) for c, _ in saves])
    known = [(place, p) for place, (_, p) in zip(places, saves, strict=True) if place is not None]
    write(db, SQL["save_uploads"], [(place, p.upload.id, rules.ticks(now), _pack(p)) for place, p in known])
    parts = [(place, p.upload.id, part.number, _pack_part(part)) for place, p in known for part in p.parts]
    write(db, SQL["save_parts"], parts)
    return [place is not None for place in places]


def of_places(db: sqlite3.Connection, places: Collection[int]) -> dict[int, tuple[Progress, ...]]:
    """What each of these places has under way, the latest last."""
    found: dict[int, tuple[Progress, ...]] = {}
    rows = orjson.loads(db.execute(SQL["of_places"], {"places": pack(list(places))}).fetchone()[0])
    for place, store, key, saved_at, progress, parts in rows:
        found[place] = (*found.get(place, ()), _unpack(store, key, saved_at, progress, parts))
    return found


def page(db: sqlite3.Connection, after: tuple[int, int], limit: int) -> tuple[list[Progress], tuple[int, int]]:
    """Uploads in the order of (time of the last save, serial), without their parts; and the place behind the last."""
    names = {"at": after[0], "serial": after[1], "limit": limit}
    rows = orjson.loads(db.execute(SQL["page"], names).fetchone()[0])
    found = [_unpack(store, key, saved_at, progress, []) for _, store, key, saved_at, progress in rows]
    return found, (rows[-1][3], rows[-1][0]) if rows else after


def close(db: sqlite3.Connection, store: str, ids: Sequence[str]) -> None:
    """See `Ledger.close_uploads`."""
    db.execute(SQL["close"], {"store": store, "ids": pack(ids)})


def settled(db: sqlite3.Connection, closed: Sequence[tuple[int, str]]) -> None:
    """Forget these: place and upload id."""
    write(db, SQL["settled"], closed)


def _pack(p: Progress) -> str:
    """Without store and key, which are beside it, and without the parts, which have rows of their own."""
    u, a = p.upload, p.upload.attributes
    texts = (a.content_type, a.content_encoding, a.content_language, a.content_disposition, a.cache_control)
    attributes = (*texts, dict(a.metadata), dict(a.tags), a.storage_class, *([a.modes] if a.modes else []))
    return pack((u.id, u.size, u.part_size, attributes, u.started_at, codec.pack_ref(p.source), u.secret))


def _unpack(store: str, key: str, saved_at: int, text: str, parts: list[str]) -> Progress:
    name, size, part_size, attributes, started_at, source, *secret = orjson.loads(text)  # older ones have none
    described = replace(Attributes(*attributes[:8]), modes=tuple(*attributes[8:]))  # older ones have no permissions
    upload = Upload(name, key, size, part_size, described, started_at, *secret)
    sent = tuple(Part(*orjson.loads(part)) for part in parts)
    return Progress(store, upload, codec.unpack_ref(source), sent, codec.seconds(saved_at))


def _pack_part(part: Part) -> Any:
    return pack((part.number, part.offset, part.size, part.tag, part.crc32c))
