"""The OpenAPI document is true, and the one in the documentation is the one of the code."""

from __future__ import annotations

from pathlib import Path

import httpx
import jsonschema
import pytest
from tests.server.served import Service, connect, transfer

from skyferry.server.app import create_routes
from skyferry.server.reference import render_document
from skyferry.server.routers.events import EXAMPLE

DOCS = Path(__file__).parents[3] / "docs"
DOCUMENT = create_routes().openapi()


def check(response: httpx.Response, path: str) -> None:
    """The response is one that the document promises for this operation."""
    operation = DOCUMENT["paths"][path][response.request.method.lower()]
    promised = operation["responses"][str(response.status_code)]
    if "content" not in promised:
        assert response.content == b""
        return
    schema = promised["content"][response.headers["content-type"]]["schema"]
    jsonschema.validate(response.json(), {**schema, "components": DOCUMENT["components"]})


def test_the_document_is_the_one_in_the_documentation() -> None:
    """Regenerate: python -m skyferry.server.reference docs/reference/openapi.json"""
    assert (DOCS / "reference" / "openapi.json").read_bytes() == render_document()


def test_every_operation_is_on_the_api_page() -> None:
    page = (DOCS / "reference" / "api.md").read_text("utf-8")
    operations = [f"| `{m.upper()} {p}` |" for p, found in DOCUMENT["paths"].items() for m in found]
    assert [operation for operation in operations if operation not in page] == []


async def test_answers_and_problems_are_as_documented(service: Service) -> None:
    await service.settle(transfer(1))
    await service.bury(2)
    dead, host = transfer(2).id, {"host": "evil.example"}
    async with connect(service) as client:
        for path in ("/health", "/ready", "/v1/status", "/v1/transfers", "/v1/dead-letters"):
            check(await client.get(path), path)
            check(await client.get(path, headers=host), path)
        for path in ("/v1/transfers", "/v1/dead-letters"):
            check(await client.get(path, params={"limit": 0}), path)
        check(await client.post("/v1/events", json=[EXAMPLE]), "/v1/events")
        check(await client.post("/v1/events", json={}), "/v1/events")
        check(await client.post("/v1/events", content="x"), "/v1/events")
        check(await client.post("/v1/events", headers={"origin": "null"}), "/v1/events")
        check(await client.get(f"/v1/transfers/{transfer(1).id}"), "/v1/transfers/{transfer_id}")
        check(await client.get("/v1/transfers/0"), "/v1/transfers/{transfer_id}")
        check(await client.get(f"/v1/dead-letters/{dead}"), "/v1/dead-letters/{letter_id}")
        check(await client.post(f"/v1/dead-letters/{dead}/redrive"), "/v1/dead-letters/{letter_id}/redrive")
        check(await client.post("/v1/dead-letters/0/redrive"), "/v1/dead-letters/{letter_id}/redrive")
        for verb in ("redrive", "discard"):
            check(await client.post(f"/v1/dead-letters/{verb}", json={"all": True}), f"/v1/dead-letters/{verb}")
            check(await client.post(f"/v1/dead-letters/{verb}", json={}), f"/v1/dead-letters/{verb}")
        check(await client.delete("/v1/dead-letters/0"), "/v1/dead-letters/{letter_id}")


@pytest.mark.parametrize("name", ["one", "several"])
def test_the_examples_fit_the_schema(name: str) -> None:
    body = DOCUMENT["paths"]["/v1/events"]["post"]["requestBody"]["content"]["application/json"]
    schema = {**body["schema"], "components": DOCUMENT["components"]}
    jsonschema.validate(body["examples"][name]["value"], schema)


def test_every_reference_leads_somewhere() -> None:
    def references(part: object) -> list[str]:
        if isinstance(part, dict):
            own = [part["$ref"]] if "$ref" in part else []
            return own + [r for v in part.values() for r in references(v)]
        return [r for v in part for r in references(v)] if isinstance(part, list) else []

    found = references(DOCUMENT)
    assert found
    assert {r.removeprefix("#/components/schemas/") for r in found} <= set(DOCUMENT["components"]["schemas"])
