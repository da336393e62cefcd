"""`skyferry gc` aborts what the ledger remembers, also after a route was removed."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.cli.conftest import Cli

from skyferry.config.load import load
from skyferry.model import Attributes, Claim, Progress
from skyferry.ports import Settlement, Skipped
from skyferry.testing.ledger.harness import transfer
from skyferry.wiring import Opener

STORES = "stores: {in: {url: file://in}, out: {url: file://out}, to: {url: file://to}}\n"
ROUTES = "routes: [{name: r, from: in, to: out}]\n"


async def leave(file: Path) -> None:
    """Leave an upload to the store `to`, whose transfer is settled."""
    for name in ("in", "out", "to"):
        (file.parent / "skyferry-data" / name).mkdir(parents=True)
    opener = Opener(load(file, {}))
    ledger, store = await opener.ledger(), opener.store("to")
    upload = await store.start_upload("k", 10, 5, Attributes())
    [claim] = await ledger.claim([transfer("a", key="k")])
    assert isinstance(claim, Claim)
    await ledger.save_progress([(claim, Progress("to", upload, claim.transfer.source))])
    await ledger.settle([Settlement(claim, Skipped("no_route"))])
    await store.close()
    await ledger.close()
    await opener.close()


def test_an_upload_to_a_store_without_a_route_is_aborted(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "skyferry.yaml"
    file.write_text(STORES + ROUTES)
    asyncio.run(leave(file))
    found = cli("gc", "--older-than", "0s", "--json").json()
    assert [(each["store"], each["key"]) for each in found["uploads"]] == [("to", "k")]
    assert cli("gc", "--older-than", "0s", "--json").json()["uploads"] == []


def test_an_upload_to_a_store_that_was_removed_is_named(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "skyferry.yaml"
    file.write_text(STORES + ROUTES)
    asyncio.run(leave(file))
    file.write_text(STORES.replace(", to: {url: file://to}", "") + ROUTES)
    said = cli("gc", "--older-than", "0s")
    assert said.out == "0 uploads aborted\n"
    assert "uploads to to, which the configuration no longer has" in said.err
