"""The ledger is no witness against the destination, in a whole service: a store is known by what it is, not by its name."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from skyferry.config.settings import Settings
from skyferry.events.native import encode_event
from skyferry.model import Change, ObjectEvent, ObjectRef, Provider, State
from skyferry.ports import Filter
from skyferry.records import Record
from skyferry.server import PushEndpoints, create_app
from skyferry.wiring import build_service
from skyferry.wiring.opener import open_ledger

PATIENCE = 30.0  # seconds
KEYS = ["a", "b", "c"]


class Deaf:
    """An observer that hears nothing."""

    def on(self, record: Record) -> None:
        """See `Observer`."""


class Home:
    """A workspace whose destination can be another folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "source").mkdir()
        for key in KEYS:
            (path / "source" / key).write_text(key)

    def settings(self, destination: str, *, watch: bool = True) -> Settings:
        stores = {"in": {"url": "file://source", "watch": watch}, "out": {"url": f"file://{destination}"}}
        routes = [{"name": "r", "from": "in", "to": "out", "deletes": "propagate"}]
        queues = [{"name": "q", "url": "memory://q"}]
        given = {"workspace": self.path, "stores": stores, "routes": routes, "queues": queues}
        return Settings.model_validate(given)

    async def run(
        self, destination: str, *, submit: Sequence[str] = (), over_http: Sequence[bytes] = (), watch: bool = True
    ) -> list[str]:
        """The keys that a whole run leaves there."""
        settings = self.settings(destination, watch=watch)
        (self.path / destination).mkdir(exist_ok=True)
        async with build_service(settings, Deaf()) as service:
            await service.submit([event(key) for key in submit])
            if over_http:
                app = create_app(
                    service, settings.server, CollectorRegistry(), PushEndpoints.from_settings((), {}, lambda: 0.0)
                )
                async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
                    headers = {"content-type": "application/json"}
                    for body in over_http:
                        assert (await http.post("/v1/events", content=body, headers=headers)).status_code == 202
            async with asyncio.timeout(PATIENCE):
                await service.run(until_idle=True)
        return self.there(destination)

    def there(self, destination: str) -> list[str]:
        return sorted(p.name for p in (self.path / destination).iterdir() if p.is_file())


def event(key: str, change: Change = Change.CREATED, about: str = "") -> bytes:
    ident = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{key} {change} {about}"))
    return encode_event(ObjectEvent(ident, change, ObjectRef(Provider.FILE, "source", key), 1_795_000_000.0, ident))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


async def test_another_folder_behind_the_name_gets_everything(home: Home) -> None:
    """By looking alone; and so does the first one when the name means it again. Nothing is looked for twice."""
    assert await home.run("one") == KEYS
    assert await home.run("two") == KEYS
    for key in KEYS:
        (home.path / "one" / key).unlink()
    assert await home.run("one") == KEYS
    ledger = await open_ledger(home.settings("one"))
    try:
        assert (await ledger.count_transfers())[State.DONE] == len(KEYS)
        placed = await ledger.get_placements("out", KEYS)
        assert {p.identity for p in placed if p} == {"file one"}
    finally:
        await ledger.close()


async def test_what_is_submitted_arrives_at_the_store_that_the_name_means_now(home: Home) -> None:
    """Nothing watches; and an event of a new version arrives there, too."""
    assert await home.run("one", submit=KEYS, watch=False) == KEYS
    assert await home.run("two", submit=KEYS, watch=False) == KEYS
    (home.path / "source" / "a").write_text("newer")
    assert await home.run("three", over_http=[event("a", about="next")], watch=False) == ["a"]
    assert (home.path / "three" / "a").read_text() == "newer"


async def test_a_delete_does_not_trust_what_another_store_held(home: Home) -> None:
    """The provenance at the destination decides; an object from elsewhere stays."""
    await home.run("one", submit=KEYS, watch=False)
    (home.path / "two").mkdir()
    (home.path / "two" / "a").write_text("not from here")
    (home.path / "source" / "a").unlink()
    assert await home.run("two", over_http=[event("a", Change.DELETED)], watch=False) == ["a"]
    ledger = await open_ledger(home.settings("two"))
    try:
        rows = (await ledger.list_transfers(Filter(source_key="a"))).items
        assert rows[0].reason == "foreign"
    finally:
        await ledger.close()


@pytest.mark.parametrize("forgotten", [False, True], ids=["ledger", "no ledger"])
async def test_a_delete_spares_the_copy_of_a_folder_of_the_same_name(tmp_path: Path, *, forgotten: bool) -> None:
    """Two machines copy their folder `source` to one store. Without its ledger, each knows its own copies by their mark."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two, there = Home(tmp_path / "one"), Home(tmp_path / "two"), tmp_path / "there"
    await one.run(str(there))
    (two.path / "source" / "a").write_text("newer")
    for key in ("b", "c"):
        (two.path / "source" / key).unlink()
    await two.run(str(there))
    assert (there / "a").read_text() == "newer"
    for key in ("a", "b"):
        (one.path / "source" / key).unlink()
    if forgotten:
        for file in filter(Path.is_file, one.path.glob("ledger.db*")):
            file.unlink()
    deletes = [event("a", Change.DELETED), event("b", Change.DELETED)]
    assert await one.run(str(there), over_http=deletes, watch=False) == ["a", "c"]
    assert (there / "a").read_text() == "newer"


@pytest.mark.parametrize("over_http", [False, True])
async def test_a_copy_removed_by_hand_is_made_again_for_the_same_event(home: Home, over_http: bool) -> None:
    """Of a person: by `submit` and over HTTP, a second time and a third."""
    for _ in range(3):
        asked = {"over_http": [event(key) for key in KEYS]} if over_http else {"submit": KEYS}
        assert await home.run("one", watch=False, **asked) == KEYS
        (home.path / "one" / "b").unlink()
    ledger = await open_ledger(home.settings("one"))
    try:
        assert (await ledger.count_transfers())[State.DONE] >= 1
    finally:
        await ledger.close()
