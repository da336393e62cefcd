"""Held deletes over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from tests.server.problem import problem
from tests.server.served import Service

from skyferry.model import ObjectRef, Provider
from skyferry.ports import HeldDelete


@pytest.fixture
async def held(service: Service) -> list[HeldDelete]:
    deletes = [
        HeldDelete(ObjectRef(Provider.FILE, "source", key), "in", ("mirror",), "limit", 1_795_418_175.5)
        for key in ("a", "b/c", "b/d")
    ]
    await service.ledger.hold_deletes(deletes)
    return deletes


async def listed(client: httpx.AsyncClient, **query: Any) -> list[str]:
    return [item["source"]["key"] for item in (await client.get("/v1/deletes", params=query)).json()["items"]]


async def test_one_held_delete_is_returned_completely(client: httpx.AsyncClient, held: list[HeldDelete]) -> None:
    answer = (await client.get("/v1/deletes", params={"prefix": "a"})).json()
    assert answer == {
        "items": [
            {
                "id": held[0].id,
                "at": "2026-11-23T07:16:15.500000Z",
                "state": "held",
                "reason": "limit",
                "store": "in",
                "source": {"provider": "file", "bucket": "source", "key": "a", "region": "", "version": ""},
                "routes": ["mirror"],
                "decided_at": None,
            }
        ],
        "cursor": "",
    }


async def test_pages_follow_each_other(client: httpx.AsyncClient, held: list[HeldDelete]) -> None:
    page = (await client.get("/v1/deletes", params={"limit": 2})).json()
    assert await listed(client, limit=2, cursor=page["cursor"]) == ["a"]
    problem(await client.get("/v1/deletes", params={"cursor": "x"}), 400, "invalid-request")


async def test_some_are_approved_and_others_rejected(client: httpx.AsyncClient, held: list[HeldDelete]) -> None:
    answer = await client.post("/v1/deletes/approve", json={"ids": [held[0].id, "unknown"]})
    assert (answer.status_code, answer.json()) == (202, {"count": 1})
    assert (await client.post("/v1/deletes/reject", json={"prefix": "b/", "store": "in"})).json() == {"count": 2}
    assert await listed(client) == []
    assert [await listed(client, state="approved"), await listed(client, state="rejected")] == [["a"], ["b/d", "b/c"]]


async def test_all_must_be_asked_for_by_name(client: httpx.AsyncClient, held: list[HeldDelete]) -> None:
    for body in ({}, {"prefx": "b/"}):
        problem(await client.post("/v1/deletes/approve", json=body), 400, "invalid-request")
    assert (await client.post("/v1/deletes/reject", json={"all": True})).json() == {"count": 3}
