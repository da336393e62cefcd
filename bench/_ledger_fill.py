"""Fill a ledger with settled transfers before it is measured, by what claims and settlements would have left there."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import asyncpg
from bench.ledger import fill as fill_sqlite
from bench.ledger import make_outcome, make_transfer
from redis import Redis

from skyferry.config.settings import LedgerSettings, Settings
from skyferry.ledgers import codec, rules
from skyferry.ledgers.redis.database import KEYS
from skyferry.ledgers.redis.records import join_texts, name_place, shrink_text, shrink_transfer
from skyferry.wiring import Opener

STEP = 2000  # transfers in one command for Redis
FIRST = 10**15  # number of the first transfer: no client has it
DONE = 2
AT = rules.to_ticks(time.time())  # a worker would prune older transfers
PLACES = (
    "INSERT INTO skyferry.places (key, store, bucket, placement) SELECT convert_to('incoming/2026/' || substr(md5(n::text), 1, 12) "
    "|| '/' || n || '.bin', 'UTF8'), 'destination', 'source', $2::text FROM generate_series(1, $1::bigint) AS n"
)
TRANSFERS = (
    "INSERT INTO skyferry.transfers (id, place, state, owner, created_at, updated_at, route, transfer, receipt) "
    "SELECT decode(md5('transfer ' || id), 'hex'), id, 2, 0, $1::bigint + id, $1 + id, 'landing', $2::text, "
    "$3::text || repeat(' ', $4) FROM skyferry.places LIMIT $5"
)
PAGE = 8192 - 24  # bytes of a page without its header
ALIGNED, POINTER = 8, 4  # bytes: a row is as long as a multiple, and has a pointer in the page's head
INDEXES = """SELECT c.conname, pg_get_constraintdef(c.oid), i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
FROM pg_index AS i LEFT JOIN pg_constraint AS c ON c.conindid = i.indexrelid WHERE i.indrelid = $1::text::regclass"""
TABLES = ("skyferry.places", "skyferry.transfers")
SETTINGS = ("synchronous_commit = off", "maintenance_work_mem = '512MB'", "max_parallel_maintenance_workers = 0")
EXAMPLE = make_transfer(FIRST, "random")
OUTCOME = make_outcome(EXAMPLE)
TRANSFER, RECEIPT = codec.pack_transfer(EXAMPLE), codec.pack_receipt(OUTCOME.receipt)
PLACEMENT = codec.pack_placement(OUTCOME.placement)
EXAMPLE_NAME = name_place(EXAMPLE.store, EXAMPLE.key)
SETTLED = shrink_transfer(TRANSFER, RECEIPT, bytes.fromhex(EXAMPLE.id), EXAMPLE_NAME)
PLACED = shrink_text(PLACEMENT, EXAMPLE_NAME)


def fill(url: str, count: int, *, analyze: bool = True) -> None:
    """Fill a new ledger with `count` transfers that are done. With `analyze`, a PostgreSQL also gets statistics of them."""
    if url.startswith("sqlite:"):
        fill_sqlite(Path(url.removeprefix("sqlite://")), count, "random")
        return
    if url.startswith("postgresql:"):
        asyncio.run(_fill_postgres(url, count, analyze))
    else:
        _fill_redis(url, count)


async def make_empty(url: str) -> None:
    """Make a ledger with all steps of its schema, as after `skyferry ledger migrate`."""
    ledger = Opener(Settings(ledger=LedgerSettings(url=url))).ledger_maintenance()
    assert ledger
    async for _ in ledger.migrate():
        pass


async def _fill_postgres(url: str, count: int, analyze: bool) -> None:
    """Add the rows without indexes, and the indexes behind them.

    Pages of destinations are as full as updates leave them, and those of the keys' index as random keys do: to 70 %. Receipts are
    padded so that pages of transfers are full, because claims would have used the room that is left there.
    """
    db = await asyncpg.connect(url, password=os.environ["PGPASSWORD"])
    for setting in SETTINGS:
        await db.execute(f"SET {setting}")
    indexes = [(table, *row) for table in TABLES for row in await db.fetch(INDEXES, table)]
    for table, constraint, _, name, _ in indexes:
        await db.execute(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}" if constraint else f"DROP INDEX {name}")
    await db.execute("ALTER TABLE skyferry.places SET (fillfactor = 90)")
    await db.execute(PLACES, count, PLACEMENT)
    await db.execute(TRANSFERS, AT, TRANSFER, RECEIPT, await _find_padding(db), count)
    for table, constraint, rule, name, index in indexes:
        fill_factor = " WITH (fillfactor = 70)" if name.endswith("places_by_key") else ""
        await db.execute(
            f"ALTER TABLE {table} ADD CONSTRAINT {constraint} {rule}" if constraint else index + fill_factor
        )
    await db.execute("ALTER TABLE skyferry.places SET (fillfactor = 20)")
    await db.execute("UPDATE skyferry.owners SET counts[3] = $1 WHERE id = 0", count)
    if analyze:
        await db.execute("VACUUM ANALYZE")
    await db.execute("CHECKPOINT")
    await db.close()


async def _find_padding(db: asyncpg.Connection) -> int:
    """Return the bytes by which a row of a transfer must grow, so that rows fill a page."""
    transaction = db.transaction()
    await transaction.start()
    await db.execute(TRANSFERS, AT, TRANSFER, RECEIPT, 0, 1)
    size: int = await db.fetchval("SELECT pg_column_size(t) FROM skyferry.transfers AS t")
    await transaction.rollback()
    return (PAGE // (PAGE // (size + POINTER)) - POINTER) // ALIGNED * ALIGNED - size


def _fill_redis(url: str, count: int) -> None:
    """Send the fields of each key, and let the server write its file once, at the end."""
    parts = urlsplit(url)
    redis = Redis(parts.hostname or "", parts.port or 0, socket_timeout=600)
    tag = "{" + parts.path[1:] + "}"
    keys = {key: f"{tag}:ledger:{key}" for key in KEYS}
    redis.config_set("appendonly", "no")
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        answers = connection.makefile("rb")
        for first in range(0, count, STEP):
            fields: dict[str, list[bytes]] = {key: [] for key in ("transfers", "places", "done", "keys", "placed")}
            for serial in range(first + 1, min(first + STEP, count) + 1):
                _add_transfer(fields, serial)
            for key, values in fields.items():
                command = (b"HSET" if key in ("transfers", "places") else b"ZADD", keys[key].encode(), *values)
                connection.sendall(
                    b"*%d\r\n" % len(command) + b"".join([b"$%d\r\n%b\r\n" % (len(v), v) for v in command])
                )
            if first:  # the answers of the step before: the server works while the next one is made
                _read_answers(answers, len(fields))
        _read_answers(answers, len(fields))
    redis.hset(keys["counters"], mapping={"serial": count, "fence": count})
    redis.config_set("appendonly", "yes")
    while any(redis.info("persistence")[name] for name in ("aof_rewrite_in_progress", "aof_rewrite_scheduled")):
        time.sleep(0.5)


def _read_answers(answers: BinaryIO, count: int) -> None:
    for _ in range(count):
        line = answers.readline()
        assert line.startswith(b":"), line


def _add_transfer(fields: dict[str, list[bytes]], serial: int) -> None:
    """Add the records of one transfer, as the scripts pack them, with the compressed texts of the example."""
    id_ = blake2b(b"%d" % (FIRST + serial), digest_size=16).digest()
    text = f"incoming/2026/{id_.hex()[:12]}/{FIRST + serial}.bin"
    key, name = text.encode(), name_place("destination", text)
    store, bucket, at = name[: -len(key)], b"source", b"%d" % (AT + serial)
    contents = join_texts((name, b"", b"landing", SETTLED))
    head = struct.pack("<BdddIIddHI", DONE, 0, serial, -1, 0, 0, AT + serial, AT + serial, 0, len(contents))
    placed = join_texts((OUTCOME.placement.identity.encode(), bucket, PLACED))
    fields["transfers"] += (id_, head + contents)
    fields["places"] += (name, struct.pack("<dddHI", 0, 0, 0, 0, 1) + placed)
    fields["done"] += (at, struct.pack(">Q", serial) + id_)
    fields["keys"] += (b"0", b"d" + key + b"\0\0" + id_)
    fields["placed"] += (b"0", store + struct.pack(">I", len(bucket)) + bucket + key)
