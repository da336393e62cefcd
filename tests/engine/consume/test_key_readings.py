"""A key that a service sends plain is found, and nothing is called gone before both readings of its notification were looked at."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from tests.engine.consume.test_unrouted import ALL, Scene, route, s3_record

from skyferry.config.settings import Settings
from skyferry.errors import PermissionDenied
from skyferry.events.detect import parse_message
from skyferry.model import Attributes, Checksums, ObjectMeta, State
from skyferry.ports import ObjectData, Outgoing, Settlement, Skipped
from skyferry.routing.routes import Routes
from skyferry.stores.memory import MemoryStore


class Looked(MemoryStore):
    """Remembers the keys that were looked at."""

    def __init__(self, name: str, clock: Any) -> None:
        super().__init__(name, clock)
        self.looks: list[str] = []

    async def read(self, key: str, start: int, length: int, *, version: str = "") -> ObjectData:
        self.looks.append(key)
        return await super().read(key, start, length, version=version)

    async def head(self, key: str) -> ObjectMeta:
        self.looks.append(key)
        return await super().head(key)


class Place(Scene):
    """A source at an S3-compatible service that nothing is known about."""

    def __init__(self) -> None:
        super().__init__()
        self.source = Looked("source", self.clock)
        self.announced = 0
        self.stores: dict[str, Any] = {**self.stores, "source": self.source}

    async def put(self, *keys: str) -> None:
        for key in keys:
            await self.source.write(key, b"x", Attributes(), Checksums())

    async def announce(self, text: str, name: str = "ObjectCreated:Put", sender: str = "aws:s3") -> None:
        self.announced += 1
        when = f"2026-01-01T00:00:{self.announced:02}Z"
        record = s3_record(text) | {"eventName": name, "eventSource": sender, "eventTime": when}
        await self.queue.send([Outgoing(orjson.dumps({"Records": [record]}))])

    async def work(self, setting: str = "", **more: Any) -> None:
        url = f"s3://source?endpoint=http://127.0.0.1:9{setting}"
        await self.run(route(**more), stores={"source": {"url": url}, "destination": {"url": "memory://destination"}})
        assert await self.waiting() == 0


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.mark.parametrize(
    ("text", "keys", "copied", "looks"),
    [
        ("dir/a+b 100%.txt", ["dir/a+b 100%.txt", "dir/a b 100%.txt"], ["dir/a+b 100%.txt"], 1),
        ("a+ü", ["a+ü", "a ü"], ["a+ü"], 1),
        ("50%+off", ["50%+off"], ["50%+off"], 1),
        ("a+%ff", ["a+%ff"], ["a+%ff"], 1),
        ("a+b", ["a b"], ["a b"], 1),
        ("a%2Bb", ["a+b"], ["a+b"], 1),
        ("a+b", ["a+b"], ["a+b"], 2),
        ("a%20b", ["a%20b"], ["a%20b"], 2),
        ("a+b", [], [], 2),
        ("plain.txt", [], [], 1),
    ],
)
async def test_the_reading_that_is_an_object_is_copied(
    place: Place, text: str, keys: list[str], copied: list[str], looks: int
) -> None:
    """A second look is made only where the notification leaves both readings possible and the first is no object."""
    await place.put(*keys)
    await place.announce(text)
    await place.work()
    assert (place.keys(), len(place.source.looks)) == (copied, looks)


@pytest.mark.parametrize(
    ("setting", "text", "copied"),
    [
        ("plain", "a+b", ["a+b"]),
        ("encoded", "a+b", ["a b"]),
        ("encoded", "a b%2B", ["a b+"]),
        ("plain", "%ff", ["%ff"]),
    ],
)
async def test_the_setting_of_the_store_decides(place: Place, setting: str, text: str, copied: list[str]) -> None:
    await place.put("a+b", "a b", "a b+", "%ff")
    await place.announce(text)
    await place.work(f"&event_keys={setting}")
    assert (place.keys(), len(place.source.looks)) == (copied, 1)


@pytest.mark.parametrize("setting", ["s3://source", "s3://source?endpoint=http://127.0.0.1:9&event_keys=encoded"])
async def test_an_encoded_key_that_is_no_text_is_kept_as_a_dead_letter(place: Place, setting: str) -> None:
    """Amazon encodes each key, so it never sends this."""
    await place.announce("%ff%fe")
    await place.announce("a%00b")
    await place.run(route(), stores={"source": {"url": setting}, "destination": {"url": "memory://destination"}})
    letters = (await place.ledger.list_dead_letters(ALL)).items
    assert [letter.reason for letter in letters] == ["invalid_key"] * 2
    assert place.source.looks == []


async def test_amazons_own_keys_are_looked_at_once(place: Place) -> None:
    await place.put("a+b")
    await place.announce("a+b")
    await place.run(route(), stores={"source": {"url": "s3://source"}, "destination": {"url": "memory://destination"}})
    assert (place.keys(), place.source.looks) == ([], ["a b"])


async def test_minio_always_encodes(place: Place) -> None:
    await place.announce("d%2Fa+b", sender="minio:s3")
    await place.work()
    assert place.source.looks == ["d/a b"]


@pytest.mark.parametrize(("prefix", "copied"), [("a+", ["a+b"]), ("a ", [])])
async def test_a_filter_sees_both_readings(place: Place, prefix: str, copied: list[str]) -> None:
    await place.put("a+b")
    await place.announce("a+b")
    await place.work(filter={"prefix": prefix})
    assert place.keys() == copied


async def test_a_delete_of_a_plain_key_is_propagated(place: Place) -> None:
    """The copy of the other reading stays while its source is there."""
    await place.put("a+b", "a b")
    await place.announce("a%2Bb")
    await place.announce("a+b")
    await place.work(deletes="propagate")
    assert place.keys() == ["a b", "a+b"]
    await place.source.delete("a b")
    await place.announce("a+b", "ObjectRemoved:Delete")
    await place.work(deletes="propagate")
    assert place.keys() == ["a+b"]
    await place.source.delete("a+b")
    await place.announce("a+b", "ObjectRemoved:Delete")
    await place.work(deletes="propagate")
    assert place.keys() == []


async def test_a_worker_that_died_between_the_readings_loses_nothing(place: Place) -> None:
    """The first is settled as gone, and the message comes again."""
    await place.put("a+b")
    stores = {
        "source": {"url": "s3://source?endpoint=http://127.0.0.1:9"},
        "destination": {"url": "memory://destination"},
    }
    compiled = Routes(Settings.model_validate({"stores": stores, "routes": [route()]}))
    await place.announce("a+b")
    (message,) = await place.queue.receive(1, 0)
    (transfer,) = compiled.match(parse_message(message.body, {}).events[0])
    (claim,) = await place.ledger.claim([transfer])
    await place.ledger.settle([Settlement(claim, Skipped("gone"))])  # type: ignore[arg-type]  # it is a claim
    await place.queue.release([message], 0)
    await place.work()
    assert place.keys() == ["a+b"]
    row = await place.ledger.get_transfer(transfer.id)
    assert row is not None
    assert (row.state, row.reason) == (State.SKIPPED, "gone")


async def test_a_dead_letter_of_the_second_reading_can_be_redriven(place: Place) -> None:
    await place.put("a+b")
    place.stores["destination"].open = False
    await place.announce("a+b")
    await place.work()
    (letter,) = (await place.ledger.list_dead_letters(ALL)).items
    assert letter.reason == PermissionDenied.kind
    place.stores["destination"].open = True
    assert await place.ledger.redrive(ALL) == 1
    await place.work()
    assert (place.keys(), await place.ledger.count_dead_letters()) == (["a+b"], [])


async def test_a_key_with_the_day_has_that_of_the_reading_that_is_there(place: Place) -> None:
    await place.put("a+b")
    day = (await place.source.head("a+b")).modified
    await place.announce("a+b")
    await place.clock.advance(10 * 86400)
    await place.work(key="{yyyy}-{mm}-{dd}/{name}")
    assert place.keys() == [f"{datetime.fromtimestamp(day, UTC):%Y-%m-%d}/a+b"]
