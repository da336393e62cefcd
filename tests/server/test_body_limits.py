"""No body within the limit costs much, whatever is in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
from tests.server.problem import problem
from tests.server.served import Service

from skyferry.server.problems import MAX_FAULTS

ROOT = Path(__file__).parents[2]
MEMORY, CPU = 64, 2.0  # MiB and seconds, at the very most


def test_no_body_within_the_limit_costs_much_memory_or_time() -> None:
    """On its way through the API, or from a queue."""
    asked = subprocess.run([sys.executable, "-m", "tests.server.bodies"], cwd=ROOT, capture_output=True, check=True)
    costs = [json.loads(line) for line in asked.stdout.splitlines()]
    assert len(costs) > 20
    assert [cost for cost in costs if cost[-1] > MEMORY or cost[-2] > CPU] == []


async def test_only_reported_faults_are_collected(client: httpx.AsyncClient, service: Service) -> None:
    for body in ([0] * 20_000, [{"schemaVersion": "1.0.0"}] * 20_000):
        response = await client.post("/v1/events", json=body)
        assert len(problem(response, 400, "invalid-event")["errors"]) == MAX_FAULTS
    for ids in ([0] * 200, ["x" * 3000] * 200):
        response = await client.post("/v1/dead-letters/discard", json={"ids": ids})
        assert len(problem(response, 400, "invalid-request")["errors"]) == 1
    names = dict.fromkeys(map(str, range(20_000)), 1)
    response = await client.post("/v1/dead-letters/discard", json=names)
    assert len(problem(response, 400, "invalid-request")["errors"]) == 1
    response = await client.get("/v1/transfers", params=dict(list(names.items())[:5000]))
    assert len(problem(response, 400, "invalid-request")["errors"]) == 1
    assert service.sent == []
