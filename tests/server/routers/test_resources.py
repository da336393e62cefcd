"""Transfers, dead letters, status, health: what is read and what is done."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta

import httpx
import pytest
from tests.server.problem import problem
from tests.server.served import FAILURE, Service, connect, transfer

from skyferry.model import State
from skyferry.observe import MetricsObserver
from skyferry.ports import DeadLetter, Filter, Purpose, Retry
from skyferry.records import Record
from skyferry.status import Condition, HealthCheck, Readiness


async def test_a_transfer_done_is_shown_with_its_receipt(client: httpx.AsyncClient, service: Service) -> None:
    await service.settle(transfer(1))
    found = (await client.get(f"/v1/transfers/{transfer(1).id}")).json()
    assert found["transfer_id"] == transfer(1).id
    assert (found["state"], found["route"], found["store"], found["key"]) == ("done", "photos", "dst", "out/1")
    assert found["source"] == {"provider": "file", "bucket": "source", "key": "in/1", "region": "", "version": "v1"}
    assert found["occurred_at"] == "2026-11-23T07:16:15.250000Z"
    assert found["position"] == "s3-sequencer:00ab"
    assert found["receipt"]["attested"] == {"crc32c": "aa", "sha256": "", "md5": "", "crc64nvme": ""}
    assert found["receipt"]["finished_at"] == "1970-01-01T00:00:02.500000Z"
    assert found["failures"] == []


async def test_a_failed_transfer_shows_its_attempts(client: httpx.AsyncClient, service: Service) -> None:
    await service.bury(1)
    found = (await client.get(f"/v1/transfers/{transfer(1).id}")).json()
    assert found["state"] == "dead"
    assert found["failures"] == [
        {
            "attempt": 1,
            "at": "2026-11-23T07:16:15.500000Z",
            "error": "permission_denied",
            "message": "no",
            "burned": True,
        }
    ]


async def test_transfers_are_listed_page_by_page_each_once(client: httpx.AsyncClient, service: Service) -> None:
    for number in range(7):
        await service.settle(transfer(number, "photos" if number % 2 else "other"))
    seen: list[str] = []
    cursor, pages = "", 0
    while pages == 0 or cursor:
        page = (await client.get("/v1/transfers", params={"limit": 3, "cursor": cursor})).json()
        seen += [item["transfer_id"] for item in page["items"]]
        cursor, pages = page["cursor"], pages + 1
    assert sorted(seen) == [transfer(n).id for n in range(7)]
    assert pages == 3


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"route": "other"}, [2]),
        ({"state": "dead"}, [3]),
        ({"state": "retry"}, []),
        ({"key_prefix": "out/1"}, [1, 10]),
        ({"source_key": "in/1"}, [1]),
        ({"reason": "permission_denied"}, [3]),
        ({"since": "2020-01-01T00:00:00Z"}, [1, 2, 3, 10]),
        ({"since": "2020-01-01T00:00:00+01:00", "until": "2020-01-02T00:00:00Z"}, []),
    ],
)
async def test_transfers_are_filtered(
    query: dict[str, str], expected: list[int], client: httpx.AsyncClient, service: Service
) -> None:
    for number in (1, 10):
        await service.settle(transfer(number))
    await service.settle(transfer(2, "other"))
    await service.bury(3)
    items = (await client.get("/v1/transfers", params=query)).json()["items"]
    assert sorted(int(item["transfer_id"], 16) for item in items) == expected


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"state": "nonsense"}, "/state"),
        ({"limit": "0"}, "/limit"),
        ({"limit": "1001"}, "/limit"),
        ({"since": "yesterday"}, "/since"),
        ({"since": "2026-11-23T00:00:00"}, "/since"),
        ({"sate": "done"}, "/sate"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/transfers", "/v1/dead-letters"])
async def test_a_query_that_does_not_fit_is_refused_with_a_pointer(
    path: str, query: dict[str, str], pointer: str, client: httpx.AsyncClient
) -> None:
    found = problem(await client.get(path, params=query), 400, "invalid-request")
    assert [(e["location"], e["pointer"]) for e in found["errors"]] == [("query", pointer)]


async def test_a_cursor_is_good_for_its_own_query_only(client: httpx.AsyncClient, service: Service) -> None:
    for number in range(3):
        await service.bury(number)
    cursor = (await client.get("/v1/dead-letters", params={"limit": 1})).json()["cursor"]
    assert (await client.get("/v1/dead-letters", params={"limit": 2, "cursor": cursor})).status_code == 200
    for path, query in [
        ("/v1/transfers", {"cursor": cursor}),
        ("/v1/dead-letters", {"cursor": cursor, "route": "photos"}),
        ("/v1/dead-letters", {"cursor": cursor[:-1]}),
        ("/v1/dead-letters", {"cursor": "AAAA"}),
        ("/v1/dead-letters", {"cursor": "ü"}),
        ("/v1/dead-letters", {"cursor": "%00"}),
    ]:
        problem(await client.get(path, params=query), 400, "invalid-cursor")


async def test_a_dead_letter_is_shown_with_its_message(client: httpx.AsyncClient, service: Service) -> None:
    await service.bury(1, b'{"a": "\xc3\xbc"}')
    found = (await client.get(f"/v1/dead-letters/{transfer(1).id}")).json()
    assert (found["reason"], found["hint"], found["queue"]) == ("permission_denied", "grant it", "main")
    assert base64.b64decode(found["body_base64"]) == b'{"a": "\xc3\xbc"}'
    assert found["body_text"] == '{"a": "ü"}'
    assert found["attributes"] == {"a": "b"}
    assert [a["error"] for a in found["attempts"]] == ["permission_denied"]


async def test_a_message_that_is_no_text_has_no_text_and_lists_carry_no_bodies(
    client: httpx.AsyncClient, service: Service
) -> None:
    letter = DeadLetter("x", 1.0, "main", "unknown_format", "no", "", b"\xff\x00", ())
    await service.ledger.add_dead_letters([letter])
    found = (await client.get("/v1/dead-letters/x")).json()
    assert (found["body_base64"], found["body_text"]) == ("/wA=", None)
    (listed,) = (await client.get("/v1/dead-letters")).json()["items"]
    assert listed["id"] == "x"
    assert not any(name.startswith("body") for name in listed)


async def test_one_dead_letter_is_redriven_once(client: httpx.AsyncClient, service: Service) -> None:
    await service.bury(1)
    first = await client.post(f"/v1/dead-letters/{transfer(1).id}/redrive")
    assert (first.status_code, first.json()) == (202, {"count": 1})
    assert (await client.get(f"/v1/dead-letters/{transfer(1).id}")).json()["redriven_at"]
    assert [letter.id for letter in await service.ledger.take_letters(Purpose.REDRIVE, 10, 1.0)] == [transfer(1).id]


async def test_one_dead_letter_is_discarded(client: httpx.AsyncClient, service: Service) -> None:
    await service.bury(1)
    path = f"/v1/dead-letters/{transfer(1).id}"
    response = await client.delete(path)
    assert (response.status_code, response.content) == (204, b"")
    problem(await client.delete(path), 404, "not-found")
    assert (await service.ledger.count_transfers())[State.DISCARDED] == 1


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"all": True}, 3),
        ({"route": "other"}, 1),
        ({"ids": [transfer(1).id, "unknown"]}, 1),
        ({"ids": []}, 0),
        ({"reason": "permission_denied", "key_prefix": "out/"}, 3),
        ({"reason": "throttled"}, 0),
        ({"until": "2020-01-01T00:00:00Z"}, 0),
    ],
)
@pytest.mark.parametrize(("verb", "status"), [("redrive", 202), ("discard", 200)])
async def test_many_are_redriven_or_discarded_by_filter(
    verb: str, status: int, selection: dict[str, object], expected: int, client: httpx.AsyncClient, service: Service
) -> None:
    for number, route in enumerate(["photos", "photos", "other"]):
        await service.bury(number, route=route)
    response = await client.post(f"/v1/dead-letters/{verb}", json=selection)
    assert (response.status_code, response.json()) == (status, {"count": expected})
    left = await service.ledger.list_dead_letters(Filter())
    assert len([letter for letter in left.items if letter.redriven_at is None]) == 3 - expected


@pytest.mark.parametrize("selection", [{}, {"route": ""}, {"roote": "photos"}, {"all": False}, [], None, {"ids": "x"}])
@pytest.mark.parametrize("verb", ["redrive", "discard"])
async def test_a_selection_that_is_empty_or_misspelt_touches_nothing(
    verb: str, selection: object, client: httpx.AsyncClient, service: Service
) -> None:
    await service.bury(1)
    problem(await client.post(f"/v1/dead-letters/{verb}", json=selection), 400, "invalid-request")
    assert (await service.ledger.get_dead_letter(transfer(1).id)) is not None
    assert await service.ledger.take_letters(Purpose.REDRIVE, 10, 1.0) == []


async def test_the_status_shows_the_current_state(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/status")).json() == {
        "version": "1",
        "workspace": "",
        "started_at": "2026-11-23T07:16:15.500000Z",
        "state": "running",
        "in_flight": 2,
        "queues": {"main": {"ready": 5, "leased": 1, "delayed": None, "oldest_age": 12.5}},
        "transfers": {"done": 7},
        "dead_letters": 1,
        "unrouted": {},
        "breakers": {"dst": "open"},
        "held_deletes": {},
        "limiter_waiting": {},
        "concurrency": {"dst": 64},
        "routes": ["photos"],
        "receives": {"main": 1.5},
        "oldest": {"photos": 61.0},
        "checks": [{"part": "ledger", "name": "ledger", "state": "ok", "message": ""}],
        "workers": {"running": 2, "draining": 1},
        "roles": {"gauges": True, "deletes": False},
    }


async def test_it_is_healthy_even_where_it_is_not_ready(client: httpx.AsyncClient, service: Service) -> None:
    assert (await client.get("/ready")).json() == {"status": "ready", "checks": []}
    service.checks = [
        HealthCheck("worker", "worker", "down", "it is draining"),
        HealthCheck("ledger", "ledger", "ok"),
        HealthCheck("queue", "main", "degraded", "its depth is not known"),
    ]
    found = problem(await client.get("/ready"), 503, "not-ready")
    assert found["errors"] == [
        {"location": "worker", "detail": "it is draining"},
        {"location": "queue main", "detail": "its depth is not known"},
    ]
    assert (await client.get("/health")).json() == {"status": "ok"}


async def test_what_is_down_is_named_also_where_it_can_work(client: httpx.AsyncClient, service: Service) -> None:
    service.checks = [HealthCheck("queue", "a", "down", "no such queue"), HealthCheck("queue", "b", "ok")]
    answer = await client.get("/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["checks"][0] == {"part": "queue", "name": "a", "state": "down", "message": "no such queue"}


DOWN, OK, POOR = "down", "ok", "degraded"


@pytest.mark.parametrize(
    ("worker", "ledger", "queues", "others", "ready", "degraded"),
    [
        (OK, OK, [OK, OK], [OK], True, False),
        (OK, OK, [DOWN, OK], [OK], True, True),
        (OK, OK, [DOWN, POOR], [OK], True, True),
        (OK, OK, [DOWN, DOWN], [OK], False, True),
        (OK, OK, [DOWN], [OK], False, True),
        (OK, OK, [OK], [DOWN], True, True),
        (OK, OK, [], [], True, False),
        (DOWN, OK, [OK], [OK], False, True),
        (OK, DOWN, [OK], [OK], False, True),
    ],
)
def test_it_is_ready_with_a_ledger_and_a_queue(
    worker: Condition, ledger: Condition, queues: list[Condition], others: list[Condition], ready: bool, degraded: bool
) -> None:
    """What a store lacks keeps no event from being taken in."""
    checks = [HealthCheck("worker", "worker", worker), HealthCheck("ledger", "ledger", ledger)]
    checks += [HealthCheck("queue", f"{n}", state) for n, state in enumerate(queues)]
    checks += [HealthCheck("store", f"{n}", state) for n, state in enumerate(others)]
    found = Readiness(tuple(checks))
    assert (found.ready, found.degraded) == (ready, degraded)


async def test_metrics_are_those_of_the_registry_in_the_format_that_is_asked_for(client: httpx.AsyncClient) -> None:
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    observer = MetricsObserver(transport.app.state.registry)  # type: ignore[attr-defined]  # a FastAPI
    observer.on(Record("transfer.done", route="photos", bytes=5))
    plain = await client.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=")
    assert 'skyferry_transfer_bytes_total{route="photos"} 5.0' in plain.text
    openmetrics = await client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    assert openmetrics.text.endswith("# EOF\n")


async def test_a_transfer_that_waits_says_until_when(client: httpx.AsyncClient, service: Service) -> None:
    await service.settle(transfer(1), Retry(delay=60.0, failure=FAILURE))
    found = (await client.get(f"/v1/transfers/{transfer(1).id}")).json()
    assert (found["state"], found["attempts"]) == ("retry", 1)
    due, updated = (datetime.fromisoformat(found[name]) for name in ("due_at", "updated_at"))
    assert due - updated == timedelta(seconds=60)


async def test_the_page_for_people_needs_no_script_from_elsewhere(service: Service) -> None:
    async with connect(service) as client:
        page = await client.get("/", follow_redirects=True)
    assert page.status_code == 200
    assert "<script" not in page.text
    assert "/v1/dead-letters/{letter_id}/redrive" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
