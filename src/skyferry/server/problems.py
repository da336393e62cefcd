"""Errors of the API as problem details (RFC 9457, application/problem+json)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match

from skyferry.errors import CannotSend, EventError, NotFound, SkyferryError

MEDIA_TYPE = "application/problem+json"
CORRELATION = "x-correlation-id"  # the header
SCOPE = "skyferry.correlation_id"  # its place in the ASGI scope
MAX_FAULTS = 100  # in one response
METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")  # all methods that any path allows
_TYPE = "urn:skyferry:problem:"


class RequestFault(BaseModel):
    """One fault of a request or of the service."""

    location: str = Field(
        description="body, query, path or header; for a fault of the service the part, such as `queue photos`."
    )
    pointer: str = Field("", description="JSON Pointer into the body, or /NAME of a parameter.")
    detail: str


class Problem(BaseModel):
    """A problem (RFC 9457)."""

    type: str = Field(description="A stable identifier of the kind of problem.", examples=[_TYPE + "not-found"])
    title: str = Field(description="The kind of problem, for people.", examples=["Not Found"])
    status: int = Field(description="The HTTP status.", examples=[404])
    detail: str = Field("", description="An explanation of this occurrence.", examples=["The transfer does not exist."])
    hint: str = Field("", description="An instruction that solves the problem.")
    correlation_id: str = Field(description="Also in the header X-Correlation-Id and in the log.")
    errors: list[RequestFault] = Field(default_factory=list, description="All faults of the request.")


class ApiError(HTTPException):
    """An error that is returned as a problem. `kind` becomes its `type`; by default the phrase of the status."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        kind: str = "",
        hint: str = "",
        errors: Sequence[RequestFault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, headers)
        self.kind, self.hint, self.errors = kind, hint, list(errors)


def create_response(error: HTTPException, correlation_id: str) -> Response:
    """Return the problem for `error`."""
    status = HTTPStatus(error.status_code)
    own = error if isinstance(error, ApiError) else None
    kind = (own and own.kind) or status.phrase.lower().replace(" ", "-").replace("'", "")
    problem = Problem(
        type=_TYPE + kind,
        title=kind.replace("-", " ").capitalize(),
        status=status,
        detail="" if error.detail == status.phrase else error.detail,
        hint=own.hint if own else "",
        correlation_id=correlation_id,
        errors=own.errors if own else [],
    )
    body = problem.model_dump_json(exclude_defaults=True)
    return Response(body, status, dict(error.headers or {}), MEDIA_TYPE)


def translate_error(error: SkyferryError) -> ApiError:
    """Translate an error of Skyferry. The problem of an outage names no file and no host."""
    if isinstance(error, NotFound):
        return ApiError(HTTPStatus.NOT_FOUND, error.message, hint=error.hint)
    if isinstance(error, EventError):
        return ApiError(HTTPStatus.BAD_REQUEST, str(error), kind="invalid-event")
    if isinstance(error, CannotSend):
        detail = f"The queue does not accept events: {error.message}."
        return ApiError(HTTPStatus.CONFLICT, detail, kind="queue-takes-nothing", hint=error.hint)
    if error.outage:
        headers = {"Retry-After": str(max(1, round(error.retry_after or 1)))}
        detail = f"Temporarily unavailable ({error.kind}); try again later."
        return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=headers)
    return internal_error()


def internal_error() -> ApiError:
    """Return the error for a bug. The log contains the details under the correlation id."""
    detail = "Skyferry failed unexpectedly."
    return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, detail, hint="search its log for the correlation id")


def translate_validation(error: RequestValidationError) -> ApiError:
    """Translate the faults of parameters or of a body."""
    faults = [
        RequestFault(
            location=str(e["loc"][0]),
            pointer="".join(f"/{_escape_pointer(part)}" for part in e["loc"][1:]),
            detail=e["msg"],
        )
        for e in error.errors()[:MAX_FAULTS]
    ]
    return ApiError(HTTPStatus.BAD_REQUEST, "The request is not valid.", kind="invalid-request", errors=faults)


def install_handlers(app: FastAPI) -> None:
    """Make `app` return every error as a problem."""

    async def handle_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            error.headers = {"Allow": ", ".join(_allowed_methods(request))}
        return create_response(error, _correlation_id(request))

    async def handle_skyferry(request: Request, error: Exception) -> Response:
        assert isinstance(error, SkyferryError)
        answer = translate_error(error)
        if answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
            raise error  # handled as unexpected, so that it is logged
        return create_response(answer, _correlation_id(request))

    async def handle_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return create_response(translate_validation(error), _correlation_id(request))

    async def handle_disconnect(request: Request, error: Exception) -> Response:
        return Response(status_code=HTTPStatus.BAD_REQUEST)  # the client has gone

    async def handle_unexpected(request: Request, error: Exception) -> Response:
        error.add_note(f"correlation_id={_correlation_id(request)}")  # the HTTP server logs the error, with its notes
        response = create_response(internal_error(), _correlation_id(request))
        response.headers[CORRELATION] = _correlation_id(request)
        return response

    app.add_exception_handler(HTTPException, handle_http)
    app.add_exception_handler(SkyferryError, handle_skyferry)
    app.add_exception_handler(RequestValidationError, handle_validation)
    app.add_exception_handler(ClientDisconnect, handle_disconnect)
    app.add_exception_handler(Exception, handle_unexpected)


def _allowed_methods(request: Request) -> Iterator[str]:
    """Yield the methods of this path. The framework reports only those of the first route that matches."""
    for method in METHODS:
        scope = {**request.scope, "method": "GET" if method == "HEAD" else method}
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.router.routes):
            yield method


def _correlation_id(request: Request) -> str:
    return str(request.scope.get(SCOPE, ""))


def _escape_pointer(part: object) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")
