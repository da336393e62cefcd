"""The service with resumable uploads to Cloud Storage, as a user configures it: by the URL of the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.policy.lab import MIB, event, settings

from skyferry.cli import main
from skyferry.config.settings import Settings
from skyferry.errors import UploadGone
from skyferry.model import (
    Attributes,
    Change,
    Checksums,
    Claim,
    ObjectRef,
    Part,
    Progress,
    Provider,
    State,
    Transfer,
    Upload,
)
from skyferry.ports import Filter, Outgoing
from skyferry.records import Record
from skyferry.stores.gcs.store import GcsStore
from skyferry.testing.servers.gcs import GcsPlace
from skyferry.testing.servers.proxy import Exchange, Fault, FaultProxy
from skyferry.testing.store_cases.place import make_noise
from skyferry.wiring import Opener, build_service

DATA = make_noise(12 * MIB + 77)  # 5, 5, 2 MiB, and what comes with the end
REFUSED = b'{"error": {"message": "no", "errors": [{"reason": "conditionNotMet"}]}}'


@dataclass
class World:
    """A folder, a bucket that keeps what it is given, and the proxy between them. Hears what is told to observers."""

    folder: Path
    proxy: FaultProxy
    there: GcsStore
    bucket: str
    heard: list[Record] = field(default_factory=list)

    def on(self, record: Record) -> None:
        self.heard.append(record)

    def configured(self, uploads: str, **more: Any) -> Settings:
        url = f"gs://{self.bucket}?endpoint={self.proxy.url}&identity=anonymous&large_upload_mode={uploads}"
        stores = {"a": {"url": f"file://{self.folder}/a", "watch": False}, "b": {"url": url}}
        return settings(self.folder, {"stores": stores, "routes": [{"name": "r", "from": "a", "to": "b"}], **more})

    async def run(self, configured: Settings) -> tuple[State, str]:
        """Copy the file; what came of it, and the advice."""
        (self.folder / "a").mkdir()
        (self.folder / "a" / "big").write_bytes(DATA)
        opener = Opener(configured)
        queue = opener.queue()
        await queue.send([Outgoing(event(configured, "a", "big"))])
        await queue.close()
        async with build_service(configured, self) as service:
            await service.run(until_idle=True)
        ledger = await opener.ledger()
        [row] = (await ledger.list_transfers(Filter())).items
        letters = (await ledger.list_dead_letters(Filter())).items
        await ledger.close()
        await opener.close()
        return row.state, letters[0].hint if letters else ""

    async def found(self) -> dict[str, bytes]:
        return {meta.key: (await self.there.read(meta.key, 0, 2**26)).data async for meta in self.there.list()}

    @property
    def sent(self) -> int:
        return sum(each.received for each in self.proxy.exchanges if each.method == "PUT")


@pytest.fixture
async def world(gcs: GcsPlace, tmp_path: Path) -> AsyncIterator[World]:
    bucket = await gcs.bucket(retentionPolicy={"retentionPeriod": "86400"})
    there = gcs.store(bucket)
    async with FaultProxy(gcs.options.endpoint) as proxy:
        yield World(tmp_path, proxy, there, bucket)
        await there.close()
        assert proxy.pending == 0


async def test_a_large_object_arrives_in_a_bucket_that_keeps_all(world: World) -> None:
    """Each byte is sent once, and nothing is left over; nobody is told the session."""
    assert await world.run(world.configured("resumable")) == (State.DONE, "")
    assert await world.found() == {"big": DATA}
    assert world.sent == len(DATA)
    [session] = {each.target.partition("upload_id=")[2][:20] for each in world.proxy.exchanges if each.method == "PUT"}
    assert not any(session in repr(record) for record in world.heard)


async def test_parts_that_the_bucket_would_keep_are_a_dead_letter_with_the_setting_to_change(world: World) -> None:
    state, hint = await world.run(world.configured("compose"))
    assert state is State.DEAD
    assert "large_upload_mode: resumable" in hint
    assert await world.found() == {}


@pytest.mark.parametrize(
    ("fault", "again"),
    [
        (Fault("PUT", drop_request=MIB), 5 * MIB),
        (Fault("PUT", status=503), 5 * MIB),
        (Fault("PUT", status=308, headers={"range": f"bytes=0-{6 * MIB - 1}"}, forward=True), 4 * MIB),
    ],
)
async def test_what_fails_and_passes_costs_a_part_at_most(world: World, fault: Fault, again: int) -> None:
    """In the second part of three."""
    world.proxy.plan(Fault("PUT"), fault)
    assert await world.run(world.configured("resumable")) == (State.DONE, "")
    assert await world.found() == {"big": DATA}
    assert len(DATA) < world.sent <= len(DATA) + again


@pytest.mark.parametrize(
    ("fault", "again"),
    [(Fault("PUT", status=412, body=REFUSED), 77), (Fault("PUT", status=503), 2 * MIB + 77)],
)
async def test_an_end_that_is_refused_is_tried_again(world: World, fault: Fault, again: int) -> None:
    """At once if nothing is at the key after all, or in another attempt, which has to send the last part for its end."""
    world.proxy.plan(Fault("PUT"), Fault("PUT"), Fault("PUT"), fault)
    assert await world.run(world.configured("resumable")) == (State.DONE, "")
    assert await world.found() == {"big": DATA}
    assert world.sent == len(DATA) + again


async def test_a_session_that_is_gone_is_begun_anew(world: World) -> None:
    world.proxy.plan(Fault("PUT"), Fault("PUT", status=410))
    assert await world.run(world.configured("resumable")) == (State.DONE, "")
    assert await world.found() == {"big": DATA}
    assert (
        len([each for each in world.proxy.exchanges if "uploadType=resumable" in each.target and each.method == "POST"])
        == 2
    )


async def test_a_write_in_the_meantime_is_noticed_and_the_upload_restarts(
    world: World, gcs: GcsPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session may not replace what was not there at its start: the next one begins over it, once that was decided."""
    world.bucket = await gcs.bucket()
    there = world.there = gcs.store(world.bucket)
    written = asyncio.Event()
    real = world.proxy._forward

    async def forward(request: Any, exchange: Exchange, *more: Any) -> Any:
        if exchange.method == "PUT" and not written.is_set():
            written.set()
            await there.write("big", b"theirs", Attributes(), Checksums())
        return await real(request, exchange, *more)

    monkeypatch.setattr(world.proxy, "_forward", forward)  # between two requests of one upload
    assert await world.run(world.configured("resumable")) == (State.DONE, "")
    assert await world.found() == {"big": DATA}
    begun = [each for each in world.proxy.exchanges if each.method == "POST" and "uploadType=resumable" in each.target]
    assert [("ifGenerationMatch=0" in each.target) for each in begun] == [True, False]
    await there.close()


async def test_parts_that_the_limits_make_too_small_are_made_larger(world: World) -> None:
    """What is less than 256 KiB becomes 1 MiB."""
    limits = {"part_size": "100KiB", "part_concurrency": 4}
    assert await world.run(world.configured("resumable", limits=limits)) == (State.DONE, "")
    assert await world.found() == {"big": DATA}
    assert {each.received for each in world.proxy.exchanges if each.method == "PUT"} == {MIB, 0, 77}


def test_gc_ends_a_session_that_the_ledger_remembers_and_does_not_show_it(
    gcs: GcsPlace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its id, which is not the session's."""
    url = f"gs://{asyncio.run(gcs.bucket())}?endpoint={gcs.options.endpoint}&identity=anonymous&large_upload_mode=resumable"
    stores = {"a": {"url": f"file://{tmp_path}/a", "watch": False}, "b": {"url": url}}
    configured = settings(tmp_path, {"stores": stores, "routes": [{"name": "r", "from": "a", "to": "b"}]})
    upload = asyncio.run(left_behind(configured))
    with pytest.raises(SystemExit):
        main(["gc", "--older-than", "0s", "--json", "--config", str(tmp_path / "skyferry.yaml")])
    said = capsys.readouterr()
    assert [each["id"] for each in orjson.loads(said.out)["uploads"]] == [upload.id]
    assert upload.secret.partition("upload_id=")[2] not in said.out + said.err
    with pytest.raises(UploadGone):
        asyncio.run(parts(configured, upload))


async def left_behind(configured: Settings) -> Upload:
    """An upload that the ledger remembers, and whose worker has died."""
    opener = Opener(configured)
    ledger, store = await opener.ledger(), opener.store("b")
    source = ObjectRef(Provider.FILE, "a", "big", version="1")
    transfer = Transfer("0" * 32, "r", Change.CREATED, source, "a", "b", "big", "e", "c", 1.0)
    [claim] = await ledger.claim([transfer])
    assert isinstance(claim, Claim)
    upload = await store.start_upload("big", len(DATA), 5 * MIB, Attributes())
    assert await ledger.save_progress([(claim, Progress("b", upload, source))]) == [True]
    await ledger.close()
    await store.close()
    await opener.close()
    return upload


async def parts(configured: Settings, upload: Upload) -> list[Part]:
    opener = Opener(configured)
    store = opener.store("b")
    try:
        return await store.uploaded_parts(upload)
    finally:
        await store.close()
        await opener.close()
