"""The OpenAPI document: that of FastAPI, extended by the problems and the security scheme."""

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
    "400": "The request is invalid; `errors` points to the faults.",
    "401": "The bearer token is missing or wrong.",
    "403": "The request comes from a web page of another origin, and no token is configured.",
    "404": "The resource does not exist.",
    "413": "The body is too large.",
    "415": "The body is not declared as JSON.",
    "421": "The Host header is not localhost, and no token is configured.",
    "500": "Skyferry failed unexpectedly; search its log for the correlation id.",
    "503": "Temporarily unavailable; try again later.",
}
_PUSH_MEANING = {
    "401": "The secret, token or signature is missing, forged, expired, replayed, or meant for another receiver.",
    "403": "The token belongs to an account that the endpoint is not configured for.",
}


def install_document(app: FastAPI) -> None:
    """Make `app` return the complete document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = build_document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # the documented way to extend FastAPI


def build_document(app: FastAPI) -> dict[str, Any]:
    """Return the document of `app`."""
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
            _complete_operation(path, method, operation)
    return document


def _complete_operation(path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    for status in _statuses(path, method, operation):
        meaning = _PUSH_MEANING.get(status, _MEANING[status]) if path.startswith(PUSH) else _MEANING[status]
        content = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}}
        responses[status] = {"description": meaning, "content": content}
    if path.startswith(PUSH):
        operation["security"] = [{}]  # each endpoint has its own authenticator
    elif path not in OPEN:
        operation["security"] = [{"token": []}, {}]


def _statuses(path: str, method: str, operation: dict[str, Any]) -> list[str]:
    """Return the statuses of the problems that an operation may return."""
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
