"""A ledger is rebuilt from provenance: the origin that it names, and objects without a usable one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.engine.copy.test_multipart import SETTINGS

from skyferry.engine import rebuild as rebuilding
from skyferry.engine.copy.provenance import format_source
from skyferry.engine.rebuild import RebuildCounts, parse_origin, rebuild_ledger
from skyferry.errors import ObjectNotFound
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.model import Attributes, Checksums, ObjectMeta, ObjectRef, Position, Provider, State
from skyferry.routing.routes import Route, Routes
from skyferry.stores.memory import MemoryStore
from skyferry.testing.clock import ManualClock

LONG = "x" * 600


@pytest.mark.parametrize(
    ("ref", "key", "known"),
    [
        (ObjectRef(Provider.AWS_S3, "bucket", "a/b c%/ü"), "elsewhere", True),
        (ObjectRef(Provider.GCP_GCS, "bucket", "#not-a-hash"), "elsewhere", True),
        (ObjectRef(Provider.AZURE_BLOB, "bucket", LONG), LONG, True),
        (ObjectRef(Provider.AZURE_BLOB, "bucket", LONG), f"copies/{LONG}", False),
    ],
    ids=["escaped", "hash", "long", "long elsewhere"],
)
def test_provenance_names_the_origin(ref: ObjectRef, key: str, known: bool) -> None:
    """A long key is written as a hash, which only the same key at the destination matches."""
    assert parse_origin(format_source(ref), key) == (ref if known else None)


@pytest.mark.parametrize("text", ["", "x", "aws_s3://", "aws_s3://b", "ftp://b/k", "aws_s3://b/ä", "aws_s3:///k"])
def test_invalid_provenance_names_no_origin(text: str) -> None:
    """Another program may have written the metadata."""
    assert parse_origin(text, "k") is None


class Listed(MemoryStore):
    """A store whose listing has no metadata, and with an object that vanishes before it is read."""

    heads = 0

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        async for meta in super().list(prefix, after):
            yield replace(meta, attributes=Attributes())

    async def head(self, key: str) -> ObjectMeta:
        self.heads += 1
        if key == "vanished":
            raise ObjectNotFound
        return await super().head(key)


async def put(store: MemoryStore, key: str, source: str, version: str = "v1") -> None:
    """Write an object with provenance."""
    metadata = {"skyferry-source": source, "skyferry-version": version, "skyferry-position": "gcs-generation:5.1"}
    await store.write(key, b"data", Attributes(metadata=metadata if source else {}), Checksums())


async def rebuilt(ledger: MemoryLedger, store: MemoryStore, clock: ManualClock) -> RebuildCounts:
    """The last count."""
    return [each async for each in rebuild_ledger(ledger, {store.name: store}, Routes(SETTINGS), clock)][-1]


async def test_what_routes_have_copied_is_remembered_and_the_rest_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over several pages; a second run finds all of it known, and asks for the strangers alone."""
    monkeypatch.setattr(rebuilding, "PAGE", 2)
    clock = ManualClock()
    route: Route = next(iter(Routes(SETTINGS)))
    ledger, store = MemoryLedger("one", clock), Listed(route.store, clock)
    mine = ObjectRef(*route.source, "k")
    await put(store, "a", format_source(replace(mine, key="dir/a")))
    await put(store, "b", format_source(mine), "v%2F2")
    await put(store, "copies/long", format_source(replace(mine, key=LONG)))
    await put(store, "stranger", "")
    await put(store, "other", format_source(replace(mine, bucket="elsewhere")))
    await put(store, "vanished", format_source(mine))
    found = await rebuilt(ledger, store, clock)
    assert found == RebuildCounts(route.store, objects=6, remembered=2, known=0, strangers=2, untold=1)
    (placed,) = await ledger.get_placements(route.store, ["b"])
    assert placed is not None
    assert placed.source == replace(mine, version="v/2")
    assert placed.positions == (Position("gcs-generation", "5.1"),)
    assert placed.version == (await store.head("b")).version
    assert (await ledger.count_transfers())[State.DONE] == 2
    store.heads = 0
    again = await rebuilt(ledger, store, clock)
    assert (again.remembered, again.known, store.heads) == (0, 2, 4)


class Foreign(Listed):
    """A store whose listing has one key that is no Unicode."""

    async def list(self, prefix: str = "", after: str = "") -> AsyncIterator[ObjectMeta]:
        async for meta in super().list(prefix, after):
            yield replace(meta, key="\udcff") if meta.key == "b" else meta


async def test_a_key_that_is_no_unicode_ends_no_rebuild() -> None:
    """A listing has it, but no request can name it."""
    clock = ManualClock()
    route: Route = next(iter(Routes(SETTINGS)))
    ledger, store = MemoryLedger("one", clock), Foreign(route.store, clock)
    mine = ObjectRef(*route.source, "k")
    for key in ("a", "b"):
        await put(store, key, format_source(mine))
    found = await rebuilt(ledger, store, clock)
    assert (found.objects, found.remembered) == (2, 1)
