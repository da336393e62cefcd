"""POST /v1/events."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.problem import problem
from tests.server.served import Service, connect

from skyferry.config.settings import ServerSettings
from skyferry.errors import CannotSend, EventError, QueueError
from skyferry.server.routers.events import EXAMPLE

JSON = {"content-type": "application/json"}


def event(**changes: Any) -> dict[str, Any]:
    return {**EXAMPLE, **changes}


async def test_an_event_is_taken_as_it_was_sent(client: httpx.AsyncClient, service: Service) -> None:
    body = json.dumps(event(unknown=[1, 2])).encode()
    response = await client.post("/v1/events", content=body, headers=JSON)
    assert response.status_code == 202
    assert service.sent == [body]
    assert response.json() == {
        "events": [
            {
                "event_id": EXAMPLE["eventId"],
                "correlation_id": EXAMPLE["correlationId"],
                "transfer_ids": ["t-photos/cat.jpg"],
                "unrouted": False,
            }
        ]
    }


async def test_the_same_event_gives_the_same_answer(client: httpx.AsyncClient) -> None:
    first = await client.post("/v1/events", json=event())
    again = await client.post("/v1/events", json=event())
    assert (first.status_code, first.json()) == (again.status_code, again.json())


async def test_a_list_is_answered_in_its_order(client: httpx.AsyncClient, service: Service) -> None:
    keys = ["a", "b", "ü/日本"]
    several = [event(source={**EXAMPLE["source"], "key": key}) for key in keys]  # type: ignore[dict-item]  # a dict
    response = await client.post("/v1/events", json=several)
    assert [e["transfer_ids"] for e in response.json()["events"]] == [[f"t-{key}"] for key in keys]
    assert [json.loads(body)["source"]["key"] for body in service.sent] == keys


async def test_a_long_list_is_read_like_a_short_one(client: httpx.AsyncClient, service: Service) -> None:
    response = await client.post("/v1/events", json=[EXAMPLE] * 1000)
    assert len(response.json()["events"]) == len(service.sent) == 1000
    response = await client.post("/v1/events", json=[EXAMPLE] * 1000 + [{}] * 1000)
    assert len(problem(response, 400, "invalid-event")["errors"]) == 100
    assert len(service.sent) == 1000


async def test_faulty_events_refuse_the_whole_list_and_each_fault_is_pointed_at(
    client: httpx.AsyncClient, service: Service
) -> None:
    bad_key = event(source={"provider": "file", "bucket": "source", "key": ""})
    response = await client.post("/v1/events", json=[event(), bad_key, event(schemaVersion="2.0.0"), 7])
    found = problem(response, 400, "invalid-event")
    assert [(e["location"], e["pointer"]) for e in found["errors"]] == [
        ("body", "/1/source/key"),
        ("body", "/2/schemaVersion"),
        ("body", "/3"),
    ]
    assert service.sent == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"7",
        b'"x"',
        b"{",
        b"\xff\xfe",
        b"NaN",
        b"[" * 100_000,
        b"[" + b'{"a":' * 400 + b"1" + b"}" * 400 + b"]",
        b'{"schemaVersion":"1.0.0","eventId":"\xed\xa0\x80"}',
        b"[1e999]",
        b"\x00" * 100,
    ],
)
async def test_what_is_no_event_is_refused(body: bytes, client: httpx.AsyncClient, service: Service) -> None:
    response = await client.post("/v1/events", content=body, headers=JSON)
    problem(response, 400, "invalid-event")
    assert service.sent == []


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*EXAMPLE, "x"]), inner, max_size=6),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
def test_no_body_is_too_strange_for_a_clear_answer(body: bytes) -> None:
    async def post() -> httpx.Response:
        async with connect(Service()) as client:
            return await client.post("/v1/events", content=body, headers=JSON)

    problem(asyncio.run(post()), 400, "invalid-event")


MUTATIONS = st.dictionaries(
    st.sampled_from([*EXAMPLE, "destination", "metadata", "position", "size"]), JSON_VALUES, min_size=1, max_size=2
)


@settings(max_examples=200, deadline=None)
@given(MUTATIONS)
def test_an_event_with_odd_values_is_taken_or_clearly_refused(changes: dict[str, Any]) -> None:
    async def post() -> httpx.Response:
        async with connect(Service()) as client:
            return await client.post("/v1/events", content=json.dumps(event(**changes)).encode(), headers=JSON)

    response = asyncio.run(post())
    if response.status_code != 202:
        problem(response, 400, "invalid-event")


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_only_json_is_read(content_type: str, client: httpx.AsyncClient, service: Service) -> None:
    response = await client.post("/v1/events", content=json.dumps(EXAMPLE), headers={"content-type": content_type})
    problem(response, 415, "unsupported-media-type")
    assert service.sent == []


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/cloudevents+json"]
)
async def test_json_by_any_of_its_names_is_read(content_type: str, client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/events", content=json.dumps(EXAMPLE), headers={"content-type": content_type})
    assert response.status_code == 202


async def test_a_body_over_the_limit_is_refused_whether_declared_or_not(service: Service) -> None:
    body = json.dumps(event(padding="x" * 5000)).encode()
    read = 0

    async def stream() -> Any:
        nonlocal read
        for start in range(0, 10 * len(body), 100):
            read += 1
            yield body[start % len(body) :][:100]

    async with connect(service, ServerSettings(body_limit=4000)) as client:
        found = problem(await client.post("/v1/events", content=body, headers=JSON), 413, "body-too-large")
        assert "4,000" in found["detail"]
        problem(await client.post("/v1/events", content=stream(), headers=JSON), 413, "body-too-large")
        assert read <= 42, "it stopped reading at the limit"
        problem(await client.post("/v1/dead-letters/redrive", content=stream(), headers=JSON), 413, "body-too-large")
    assert service.sent == []


async def test_a_body_at_the_limit_is_taken(service: Service) -> None:
    body = json.dumps(EXAMPLE).encode()
    async with connect(service, ServerSettings(body_limit=len(body))) as client:
        assert (await client.post("/v1/events", content=body, headers=JSON)).status_code == 202


async def test_a_queue_that_is_down_says_when_to_come_again(client: httpx.AsyncClient, service: Service) -> None:
    service.fails = QueueError("cannot connect", where="/var/lib/secret/queue.db", retry_after=7.2)
    response = await client.post("/v1/events", json=EXAMPLE)
    problem(response, 503, "service-unavailable")
    assert response.headers["retry-after"] == "7"
    assert "secret" not in response.text


async def test_a_queue_that_takes_nothing_is_not_to_be_tried_again(client: httpx.AsyncClient, service: Service) -> None:
    service.fails = CannotSend("no topic is given to send to", where="secret", hint="add ?topic=… to its URL")
    response = await client.post("/v1/events", json=EXAMPLE)
    found = problem(response, 409, "queue-takes-nothing")
    assert found["hint"] == "add ?topic=… to its URL"
    assert "secret" not in response.text


async def test_an_event_that_the_routes_refuse_is_the_senders_fault(
    client: httpx.AsyncClient, service: Service
) -> None:
    service.fails = EventError("the key is too long", where="photos")
    found = problem(await client.post("/v1/events", json=EXAMPLE), 400, "invalid-event")
    assert found["detail"] == "photos: the key is too long"
