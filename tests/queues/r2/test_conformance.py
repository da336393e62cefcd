"""A Cloudflare Queue keeps the contract, on the project's fake of its HTTP API."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skyferry.clouds.credentials import fixed_credentials
from skyferry.clouds.identity import files
from skyferry.clouds.identity.build import IdentityContext, cloudflare_token
from skyferry.config.identity import IdentitySettings
from skyferry.config.settings import QueueSettings
from skyferry.config.urls import resolve_queue
from skyferry.errors import ConfigError, QueueError
from skyferry.events.detect import parse_message
from skyferry.ports import EventQueue, Outgoing
from skyferry.ports.inspection import Redrive
from skyferry.queues.r2.queue import R2Queue, R2QueueOptions
from skyferry.testing.clock import ManualClock
from skyferry.testing.cloudflare import CloudflareQueues, FakeQueue, serve
from skyferry.testing.cloudflare.queues import ACCOUNT
from skyferry.testing.queue import QueueConformance, QueueHarness, QueueTiming

TOKEN = "a token of the account"
NOTIFICATION = Path(__file__).parents[2] / "events" / "corpus" / "valid" / "r2-copy.json"


class R2Harness(QueueHarness):
    """A queue of the fake, by a clock that the harness moves."""

    timing = QueueTiming(lease=30, delay=10, slack=0, idle=20, poll=1)

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.fake = CloudflareQueues(TOKEN, self.clock.time)
        self.queue = self.fake.add(FakeQueue("events"))
        self.url, self.opened = "", list[R2Queue]()

    async def open(self, name: str = "events", token: str = TOKEN) -> R2Queue:
        options = R2QueueOptions(ACCOUNT, self.url, lease=30)
        self.opened.append(R2Queue("r2", name, fixed_credentials(token), options, self.clock))
        return self.opened[-1]

    async def pass_time(self, seconds: float) -> None:
        """A request that a step wakes is answered before the next."""
        while seconds > 0:
            await self.clock.advance(min(1.0, seconds))
            seconds -= 1.0
            await asyncio.sleep(0.003)


@pytest.fixture
async def place() -> AsyncIterator[R2Harness]:
    harness = R2Harness()
    async with serve(harness.fake) as harness.url:
        yield harness
        for queue in harness.opened:
            await queue.close()


class TestR2Queue(QueueConformance):
    """The contract."""

    @pytest.fixture
    def harness(self, place: R2Harness) -> QueueHarness:
        return place

    async def test_a_lease_is_lost_at_its_end(self, one: EventQueue, harness: QueueHarness) -> None:
        """It cannot be renewed, and is not believed to be."""
        await one.send([Outgoing(b"x")])
        held = await self.get(one, harness)
        await harness.pass_time(one.lease - 1)
        assert await one.extend(held, 600) == []
        await harness.pass_time(1)
        assert await one.extend(held) == held


async def test_a_notification_of_r2_arrives_as_the_event_that_it_is(place: R2Harness) -> None:
    """The service returns JSON in Base64, and the id is its own."""
    sent = place.queue.push(NOTIFICATION.read_text(), "json", place.clock.time())
    (message,) = await (await place.open()).receive(1, 0)
    assert json.loads(message.body) == json.loads(NOTIFICATION.read_bytes())
    assert (message.id, message.attributes, message.attempt) == (sent.id, (), 1)
    (event,) = parse_message(message.body, {}).events
    assert (event.format, event.source.key) == ("r2", "my-new-object")


async def test_text_that_looks_like_base64_stays_text(place: R2Harness) -> None:
    text = base64.b64encode(b"text").decode()
    place.queue.push(text, "text", place.clock.time())
    (message,) = await (await place.open()).receive(1, 0)
    assert message.body == text.encode()


async def test_a_queue_is_found_by_name_once_or_used_by_id(place: R2Harness) -> None:
    for number in range(150):
        place.fake.add(FakeQueue(f"other-{number}"))
    place.fake.queues[place.queue.id] = place.fake.queues.pop(place.queue.id)  # the last of two pages
    named, by_id = await place.open("events"), await place.open(place.queue.id)
    for queue in (named, named, by_id):
        assert await queue.receive(1, 0) == []
    assert [request.split("/")[-1] for request in place.fake.requests] == ["queues"] * 2 + ["pull"] * 3


@pytest.mark.parametrize(
    ("name", "token", "said", "hint"),
    [
        ("missing", TOKEN, "no queue 'missing'", "create it"),
        ("0" * 32, TOKEN, "Queue does not exist", "create it"),
        ("events", "wrong", "Authentication error", "API token"),
    ],
)
async def test_what_is_refused_is_named(place: R2Harness, name: str, token: str, said: str, hint: str) -> None:
    queue = await place.open(name, token)
    with pytest.raises(QueueError, match=said) as caught:
        await queue.receive(1, 0)
    assert hint in caught.value.hint
    assert token not in str(caught.value)


async def test_a_queue_that_a_worker_consumes_cannot_be_pulled(place: R2Harness) -> None:
    place.queue.pulled = False
    queue = await place.open()
    with pytest.raises(QueueError) as caught:
        await queue.receive(1, 0)
    assert "wrangler queues consumer http add" in caught.value.hint
    facts = await queue.inspect()
    assert (facts.receives, facts.redrive) == (False, None)
    assert facts.wrong[0].what == "it has no pull consumer"


async def test_the_inspection_tells_when_messages_are_deleted(place: R2Harness) -> None:
    queue = await place.open()
    facts = await queue.inspect()
    assert facts.redrive == Redrive(101, "nowhere: the message is deleted")
    assert facts.wrong[0].what == "the service deletes a message that was received too often"
    place.queue.dead_letter_queue, place.queue.max_retries = "dead", 7
    facts = await queue.inspect()
    assert (facts.redrive, facts.wrong) == (Redrive(8, "dead"), ())


async def test_throttling_says_how_long(place: R2Harness) -> None:
    place.fake.fail = (429, 971, "Please wait")
    with pytest.raises(QueueError, match=r"Please wait \(971\)"):
        await (await place.open()).receive(1, 0)


async def test_a_rotated_token_is_read_again(place: R2Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its file, without a restart."""
    monkeypatch.setattr(files, "PAUSE", 0.0)
    path = tmp_path / "token"
    path.write_text("old token")
    settings = IdentitySettings(kind="static", secret_file=path)
    provider = cloudflare_token(settings, IdentityContext("r2", place.clock, {}))
    queue = R2Queue("r2", "events", provider, R2QueueOptions(ACCOUNT, place.url), place.clock)
    place.opened.append(queue)
    with pytest.raises(QueueError, match="Authentication"):
        await queue.receive(1, 0)
    path.write_text(TOKEN)
    await place.clock.advance(60)
    assert await queue.receive(1, 0) == []
    await provider.close()


@pytest.mark.parametrize("kind", ["auto", "anonymous", "federated"])
def test_only_a_token_is_an_identity_there(kind: str, tmp_path: Path) -> None:
    settings = IdentitySettings.model_validate({"kind": kind, "token_file": tmp_path})
    with pytest.raises(ConfigError, match="API tokens only") as caught:
        cloudflare_token(settings, IdentityContext("r2", ManualClock(), {}))
    assert "CLOUDFLARE_API_TOKEN" in caught.value.hint


def test_its_url_names_account_and_queue() -> None:
    where = resolve_queue(QueueSettings(name="q", url=f"r2q://{ACCOUNT}/events?identity=static"))
    assert (where.url.account, where.url.queue) == (ACCOUNT, "events")
    assert where.settings.endpoint == "https://api.cloudflare.com/client/v4"
    for url in ("r2q://events?identity=static", "r2q://a/b/c?identity=static", f"r2q://{ACCOUNT}/events"):
        with pytest.raises(ValueError, match="r2q://"):
            resolve_queue(QueueSettings(name="q", url=url))
