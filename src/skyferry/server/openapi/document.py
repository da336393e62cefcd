"""The OpenAPI document: what FastAPI finds out by itself, and the problems and the token that it cannot know of."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from skyferry.events.native import NativeEvent
from skyferry.server.access_control import OPEN
from skyferry.server.middleware import PUSH
from skyferry.server.problems import MEDIA_TYPE, Problem

_REF = "#/components/schemas/{model}"
_MEANING = {
    "400": "The request is not valid; `errors` points at the faults.",
    "401": "The bearer token is missing or wrong.",
    "403": "A web page of another origin asks for a change, and no token is configured.",
    "404": "There is no such thing.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "421": "The Host header is not this machine's, and no token is configured.",
    "500": "Something went wrong in Skyferry; its log says more under the correlation id.",
    "503": "It cannot do this now; try again later.",
}
_PUSHED = {
    "401": "What proves who pushes is missing, forged, expired, replayed, or for somebody else.",
    "403": "Whoever pushes is not the one that the endpoint is for.",
}


def install(app: FastAPI) -> None:
    """Let `app` describe itself in full."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = describe(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # the way FastAPI documents


def describe(app: FastAPI) -> dict[str, Any]:
    """The document of `app`."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    components = document["components"]
    for model in (Problem, NativeEvent):
        schema = model.model_json_schema(ref_template=_REF)
        components["schemas"] |= schema.pop("$defs", {}) | {model.__name__: schema}
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete(path, method, operation)
    return document


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    for status in _statuses(path, method, operation):
        meaning = _PUSHED.get(status, _MEANING[status]) if path.startswith(PUSH) else _MEANING[status]
        content = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}}
        responses[status] = {"description": meaning, "content": content}
    if path.startswith(PUSH):
        operation["security"] = [{}]  # each endpoint's own
    elif path not in OPEN:
        operation["security"] = [{"token": []}, {}]


def _statuses(path: str, method: str, operation: dict[str, Any]) -> list[str]:
    """Which problems an operation may answer with."""
    if path.startswith(PUSH):
        return ["400", "401", "403", "404", "413", "500", "503"]
    found = ["421", "500"]
    if path != "/health":
        found.append("503")
    if path not in OPEN:
        found.append("401")
    if method != "get":
        found.append("403")
    if "{" in path:
        found.append("404")
    if "requestBody" in operation:
        found += ["400", "413", "415"]
    elif any(parameter["in"] == "query" for parameter in operation.get("parameters", ())):
        found.append("400")
    return sorted(found)
