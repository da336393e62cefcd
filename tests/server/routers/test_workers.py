"""Workers over HTTP."""

from __future__ import annotations

import httpx
import pytest
from tests.server.problem import problem
from tests.server.served import Service

from skyferry.clock import SystemClock
from skyferry.ledgers.memory.ledger import MemoryLedger
from skyferry.ports import Heartbeat, WorkerState

BEAT = Heartbeat("host", "1.2.3", "eu-west-1", 12.5, WorkerState.DRAINING, 2, (("dst", "out/1"),), "1a2b", "3c4d")


@pytest.fixture
async def fleet(service: Service) -> None:
    for name in ("b", "a", "c"):  # the first one gets the role
        ledger = MemoryLedger(name, SystemClock(), state=service.ledger._state)
        await ledger.heartbeat(BEAT, ["deletes"])


async def test_one_worker_is_returned_completely(client: httpx.AsyncClient, fleet: None) -> None:
    (_, item, _) = (await client.get("/v1/workers")).json()["items"]
    assert 12.5 <= item.pop("age") < 60
    assert 0 <= item.pop("heartbeat_age") < 30
    assert 0 <= item.pop("role_ages")["deletes"] < 30
    assert item == {
        "id": "b",
        "host": "host",
        "version": "1.2.3",
        "region": "eu-west-1",
        "state": "draining",
        "holds": 2,
        "keys": [{"store": "dst", "key": "out/1"}],
        "roles": ["deletes"],
        "routes": "1a2b",
        "queues": "3c4d",
    }


async def test_pages_follow_each_other(client: httpx.AsyncClient, fleet: None) -> None:
    first = (await client.get("/v1/workers", params={"limit": 2})).json()
    rest = (await client.get("/v1/workers", params={"limit": 2, "cursor": first["cursor"]})).json()
    assert [[item["id"] for item in page["items"]] for page in (first, rest)] == [["a", "b"], ["c"]]
    assert rest["cursor"] == ""


async def test_no_workers_are_an_empty_page(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/workers")).json() == {"items": [], "cursor": ""}


@pytest.mark.parametrize("query", [{"limt": 2}, {"limit": 0}, {"limit": 1001}, {"cursor": "x" * 201}])
async def test_a_faulty_query_is_a_problem(client: httpx.AsyncClient, query: dict[str, str]) -> None:
    problem(await client.get("/v1/workers", params=query), 400, "invalid-request")
