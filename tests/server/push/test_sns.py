"""Messages of Amazon SNS are let in by their signature, and only topics that are configured are subscribed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from tests.server.problem import problem
from tests.server.served import Service

from skyferry.clouds.identity.exchange import TokenRequest
from skyferry.config.push import PushSettings
from skyferry.config.settings import ServerSettings
from skyferry.errors import ConnectionLost, IdentityRefused, UnknownFormat
from skyferry.events.detect import parse_message
from skyferry.server import create_app
from skyferry.server.push import sns as push_sns
from skyferry.server.push.endpoints import PushEndpoints
from skyferry.testing.clock import ManualClock
from skyferry.testing.identity.topic import ARN, PATH, Topic, run_topic

AMAZON = "https://sns.eu-west-1.amazonaws.com"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(time.time())


@pytest.fixture
async def topic(clock: ManualClock) -> AsyncIterator[Topic]:
    async with run_topic(clock.time) as running:
        yield running


def connect(service: Service, clock: ManualClock, endpoint: str) -> httpx.AsyncClient:
    settings = PushSettings(name="s3", kind="sns", topics=(ARN,), endpoint=endpoint)
    app = create_app(
        service, ServerSettings(), CollectorRegistry(), PushEndpoints.from_settings([settings], {}, clock.time)
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="https://skyferry.example")


@pytest.fixture
async def client(service: Service, clock: ManualClock, topic: Topic) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(service, clock, topic.url) as client:
        yield client


async def post(client: httpx.AsyncClient, message: Mapping[str, object]) -> httpx.Response:
    """As SNS does it: JSON, called plain text."""
    headers = {"content-type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": str(message.get("Type", ""))}
    return await client.post("/v1/push/s3", content=json.dumps(message), headers=headers)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("others", [{}, {"Subject": "Amazon S3 Notification"}, {"MessageAttributes": "ignored"}])
async def test_a_signed_message_is_in_the_queue(
    version: str, others: dict[str, str], client: httpx.AsyncClient, service: Service, topic: Topic
) -> None:
    """What its signature covers, and nothing else."""
    message = topic.signed({**topic.message(text='{"Records": []}'), **others}, version)
    for _ in range(2):
        assert (await post(client, message)).status_code == 200
    signed = {name: value for name, value in message.items() if name in push_sns.SIGNED["Notification"]}
    assert [json.loads(m.body) for _, m in service.accepted] == [signed] * 2
    assert service.accepted[0][1].dedup_id == f"push:s3:{message['MessageId']}"
    assert topic.calls["certificate"] == 1  # fetched once


@pytest.mark.parametrize("name", ["Message", "MessageId", "Timestamp", "TopicArn", "Type", "Subject"])
async def test_a_message_that_was_changed_is_refused(
    name: str, client: httpx.AsyncClient, service: Service, topic: Topic
) -> None:
    message = topic.message(Subject="Amazon S3 Notification")
    changed = {"Timestamp": topic.message(age=10)["Timestamp"], "Type": "UnsubscribeConfirmation"}
    problem(await post(client, {**message, name: changed.get(name, message[name] + "x")}), 401, "not-authentic")
    problem(await post(client, {key: value for key, value in message.items() if key != name}), 401, "not-authentic")
    assert service.accepted == []


async def test_what_is_added_to_a_signed_message_is_not_heard(
    client: httpx.AsyncClient, service: Service, topic: Topic
) -> None:
    """Fields beside the signed ones would make it another event: a native one, of whatever object."""
    seen = topic.message(text=(Path(__file__).parents[2] / "events/corpus/valid/s3-put.json").read_text())
    forged = json.loads((Path(__file__).parents[2] / "events/corpus/valid/native-deleted.json").read_text())
    assert (await post(client, {**forged, **seen})).status_code == 200
    assert [event.format for event in parse_message(service.accepted[0][1].body, {}).events] == ["s3"]


async def test_a_forged_message_is_refused(client: httpx.AsyncClient, service: Service, topic: Topic) -> None:
    good = topic.message()
    bad: list[dict[str, object]] = [
        {**topic.forger().message()},
        {**good, "Signature": ""},
        {**good, "Signature": "no base64!"},
        {**good, "SignatureVersion": "2"},
        {**good, "SignatureVersion": "3"},
        {**good, "SigningCertURL": ""},
        {"Records": []},
        {},
    ]
    for message in bad:
        problem(await post(client, message), 401, "not-authentic")
    problem(await client.post("/v1/push/s3", content=b"nonsense"), 401, "not-authentic")
    problem(await client.post("/v1/push/s3", content=b"[]"), 401, "not-authentic")
    assert service.accepted == []


async def test_a_message_that_is_replayed_later_is_refused(
    client: httpx.AsyncClient, service: Service, topic: Topic, clock: ManualClock
) -> None:
    message = topic.message()
    assert (await post(client, message)).status_code == 200
    await clock.advance(3601)
    assert "replayed" in problem(await post(client, message), 401, "not-authentic")["detail"]
    problem(await post(client, topic.message(age=-301)), 401, "not-authentic")
    assert len(service.accepted) == 1


async def test_a_configured_topic_is_subscribed_at_the_service_we_know(
    client: httpx.AsyncClient, service: Service, topic: Topic
) -> None:
    message = topic.message("SubscriptionConfirmation", Token="t0ken", SubscribeURL="https://evil.example/confirm")
    assert (await post(client, message)).status_code == 200
    query = {"Action": "ConfirmSubscription", "Token": "t0ken", "TopicArn": ARN, "Version": "2010-03-31"}
    assert topic.calls[json.dumps(query, sort_keys=True)] == 1
    assert service.accepted == []


async def test_another_topic_is_neither_subscribed_nor_heard(
    client: httpx.AsyncClient, service: Service, topic: Topic
) -> None:
    other = Topic(topic.url, topic.clock, ARN.replace("uploads", "other"))
    for kind in ("SubscriptionConfirmation", "Notification"):
        problem(await post(client, other.message(kind, Token="t", SubscribeURL="u")), 401, "not-authentic")
    forged = topic.forger().message("SubscriptionConfirmation", Token="t", SubscribeURL="u")
    problem(await post(client, forged), 401, "not-authentic")
    assert (service.accepted, set(topic.calls)) == ([], {"certificate"})


async def test_the_end_of_a_subscription_is_reported_and_not_undone(
    client: httpx.AsyncClient, service: Service, topic: Topic
) -> None:
    """As a dead letter: whoever has the link in a message may have ended it, and from now on nothing comes."""
    message = topic.message("UnsubscribeConfirmation", Token="t", SubscribeURL="u")
    assert (await post(client, message)).status_code == 200
    [(_, queued)] = service.accepted
    with pytest.raises(UnknownFormat, match="sends nothing more"):
        parse_message(queued.body, {})
    assert set(topic.calls) == {"certificate"}


@pytest.mark.parametrize(
    "url",
    [
        f"http://sns.eu-west-1.amazonaws.com{PATH}",
        f"https://sns.eu-west-1.amazonaws.com.evil.example{PATH}",
        f"https://evil.example{PATH}",
        f"https://sns.eu-west-1.amazonaws.com@evil.example{PATH}",
        f"https://sns.us-east-1.amazonaws.com{PATH}",
        f"https://s3.eu-west-1.amazonaws.com/bucket{PATH}",
        f"https://sns.eu-west-1.amazonaws.com:8443{PATH}",
        f"https://sns.eu-west-1.amazonaws.com{PATH}?x=y",
        "https://sns.eu-west-1.amazonaws.com/?Action=Publish",
        "https://sns.eu-west-1.amazonaws.com/../SimpleNotificationService-00112233445566778899.pem/..",
        "file:///etc/passwd",
        "",
    ],
)
async def test_a_certificate_from_elsewhere_is_not_even_fetched(
    url: str, service: Service, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fetch(request: TokenRequest) -> bytes:
        raise AssertionError(request.url)

    monkeypatch.setattr(push_sns, "request_token", fetch)
    message = Topic(AMAZON, clock.time).message()
    async with connect(service, clock, "") as client:
        found = problem(await post(client, {**message, "SigningCertURL": url}), 401, "not-authentic")
    assert "not from the topic" in found["detail"]


async def test_at_amazon_the_certificate_of_the_topics_region_is_taken(
    service: Service, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, asked = Topic(AMAZON, clock.time), []

    async def fetch(request: TokenRequest) -> bytes:
        asked.append(request.url)
        return topic.certificate()

    monkeypatch.setattr(push_sns, "request_token", fetch)
    async with connect(service, clock, "") as client:
        assert (await post(client, topic.message())).status_code == 200
        confirm = topic.message("SubscriptionConfirmation", Token="t", SubscribeURL="u")
        assert (await post(client, confirm)).status_code == 200
    assert asked[0] == AMAZON + PATH
    assert asked[1].startswith(f"{AMAZON}/?Action=ConfirmSubscription&")


@pytest.mark.parametrize(("begins", "days"), [(-30.0, 10.0), (10.0, 30.0)])
async def test_a_certificate_that_is_not_valid_now_proves_nothing(
    begins: float, days: float, service: Service, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = Topic(AMAZON, clock.time)

    async def fetch(request: TokenRequest) -> bytes:
        return topic.certificate(begins=begins, days=days)

    monkeypatch.setattr(push_sns, "request_token", fetch)
    async with connect(service, clock, "") as client:
        problem(await post(client, topic.message()), 401, "not-authentic")


async def test_a_certificate_that_has_ended_since_proves_nothing_any_more(
    service: Service, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is kept; but whoever has its old key may not go on signing."""
    topic = Topic(AMAZON, clock.time)

    async def fetch(request: TokenRequest) -> bytes:
        return topic.certificate(begins=-1, days=2)

    monkeypatch.setattr(push_sns, "request_token", fetch)
    async with connect(service, clock, "") as client:
        assert (await post(client, topic.message())).status_code == 200
        await clock.advance(2 * 86400)
        problem(await post(client, topic.message()), 401, "not-authentic")


async def test_sns_is_asked_to_retry_while_the_certificate_cannot_be_fetched(
    service: Service, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fetch(request: TokenRequest) -> bytes:
        raise ConnectionLost

    monkeypatch.setattr(push_sns, "request_token", fetch)
    async with connect(service, clock, "") as client:
        problem(await post(client, Topic(AMAZON, clock.time).message()), 503, "service-unavailable")
    assert service.accepted == []


async def test_a_forged_message_keeps_no_true_one_waiting(
    client: httpx.AsyncClient, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its certificate is fetched, which nobody has."""
    assert (await post(client, topic.message())).status_code == 200
    fetching = asyncio.Event()

    async def fetch(request: TokenRequest) -> bytes:
        fetching.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(push_sns, "request_token", fetch)
    forged = asyncio.create_task(post(client, {**topic.message(), "SigningCertURL": f"{topic.url}/other.pem"}))
    await fetching.wait()
    async with asyncio.timeout(30):
        assert (await post(client, topic.message())).status_code == 200
    forged.cancel()
    await asyncio.wait({forged})


async def test_forged_messages_make_few_requests_however_many_come(
    service: Service, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And none of them is an error of ours, for the log."""
    asked: list[str] = []

    async def fetch(request: TokenRequest) -> bytes:
        asked.append(request.url)
        raise IdentityRefused("HTTP 403")

    monkeypatch.setattr(push_sns, "request_token", fetch)
    message = Topic(AMAZON, clock.time).message()
    async with connect(service, clock, "") as client:
        urls = [f"{AMAZON}/SimpleNotificationService-{number:032x}.pem" for number in range(200)]
        for _ in range(3):
            problem(await post(client, {**message, "SigningCertURL": urls[0]}), 401, "not-authentic")
        assert asked == urls[:1]
        found = [await post(client, {**message, "SigningCertURL": url}) for url in urls]
        assert {response.status_code for response in found} == {401, 503}
        assert asked == urls[: push_sns.FETCHES]
        assert found[-1].headers["retry-after"] == "15"
        await clock.advance(push_sns.PAUSE)
        problem(await post(client, {**message, "SigningCertURL": urls[-1]}), 401, "not-authentic")
        assert asked[push_sns.FETCHES :] == urls[-1:]


async def test_old_messages_and_other_topics_make_no_request(
    service: Service, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fetch(request: TokenRequest) -> bytes:
        raise AssertionError(request.url)

    monkeypatch.setattr(push_sns, "request_token", fetch)
    topic = Topic(AMAZON, clock.time)
    async with connect(service, clock, "") as client:
        problem(await post(client, topic.message(age=3601)), 401, "not-authentic")
        headers = {"x-amz-sns-topic-arn": ARN + "x"}
        refused = await client.post("/v1/push/s3", content=json.dumps(topic.message()), headers=headers)
        problem(refused, 401, "not-authentic")
