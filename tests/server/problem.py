"""What every error of the API looks like."""

from __future__ import annotations

from typing import Any

import httpx


def problem(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """The body, having checked that it is a problem of this kind, whole and without internals."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = response.json()
    assert found["type"] == f"urn:skyferry:problem:{kind}"
    assert found["status"] == status
    assert found["title"]
    assert found["correlation_id"] == response.headers["x-correlation-id"]
    assert "Traceback" not in response.text
    return found
