"""Every error of the API in one shape: RFC 9457, application/problem+json."""

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
CORRELATION = "x-correlation-id"
SCOPE = "skyferry.correlation_id"
MAX_FAULTS = 100  # in one answer
METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")  # that some path or other allows
_TYPE = "urn:skyferry:problem:"


class Fault(BaseModel):
    """One thing that is wrong with a request, or with the service."""

    location: str = Field(description="body, query, path or header; of the service: the part, such as `queue photos`.")
    pointer: str = Field("", description="JSON Pointer into the body, or /NAME of a parameter.")
    detail: str


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field(description="Stable identifier of the kind of problem.", examples=[_TYPE + "not-found"])
    title: str = Field(description="The kind of problem, for people.", examples=["Not Found"])
    status: int = Field(description="The HTTP status.", examples=[404])
    detail: str = Field("", description="What happened here.", examples=["There is no such transfer."])
    hint: str = Field("", description="What to do about it.")
    correlation_id: str = Field(description="Also in the header X-Correlation-Id, and in our log where it matters.")
    errors: list[Fault] = Field(default_factory=list, description="Everything that is wrong with the request.")


class ApiError(HTTPException):
    """An answer that is a problem. `kind` names it in its `type`; left out: after the status."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        kind: str = "",
        hint: str = "",
        errors: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, headers)
        self.kind, self.hint, self.errors = kind, hint, list(errors)


def respond(error: HTTPException, correlation_id: str) -> Response:
    """The response that says so."""
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


def of(error: SkyferryError) -> ApiError:
    """Our own errors as answers. Those of outages name no file and no host."""
    if isinstance(error, NotFound):
        return ApiError(HTTPStatus.NOT_FOUND, error.message, hint=error.hint)
    if isinstance(error, EventError):
        return ApiError(HTTPStatus.BAD_REQUEST, str(error), kind="invalid-event")
    if isinstance(error, CannotSend):
        detail = f"The queue takes no events: {error.message}."
        return ApiError(HTTPStatus.CONFLICT, detail, kind="queue-takes-nothing", hint=error.hint)
    if error.outage:
        headers = {"Retry-After": str(max(1, round(error.retry_after or 1)))}
        return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, f"Try again later: {error.kind}.", headers=headers)
    return internal()


def internal() -> ApiError:
    """A bug of ours: the log has the rest, under the correlation id."""
    return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here; the log says more.")


def invalid(error: RequestValidationError) -> ApiError:
    """Parameters or a body that do not fit."""
    faults = [
        Fault(
            location=str(e["loc"][0]), pointer="".join(f"/{_escaped(part)}" for part in e["loc"][1:]), detail=e["msg"]
        )
        for e in error.errors()[:MAX_FAULTS]
    ]
    return ApiError(HTTPStatus.BAD_REQUEST, "The request is not valid.", kind="invalid-request", errors=faults)


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem."""

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            error.headers = {"Allow": ", ".join(_allowed(request))}
        return respond(error, _id(request))

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, SkyferryError)
        answer = of(error)
        if answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
            raise error  # for the log
        return respond(answer, _id(request))

    async def validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return respond(invalid(error), _id(request))

    async def gone(request: Request, error: Exception) -> Response:
        return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody reads it

    async def unexpected(request: Request, error: Exception) -> Response:
        error.add_note(f"correlation_id={_id(request)}")  # the HTTP server logs the error, with its notes
        response = respond(internal(), _id(request))
        response.headers[CORRELATION] = _id(request)
        return response

    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(SkyferryError, ours)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(Exception, unexpected)


def _allowed(request: Request) -> Iterator[str]:
    """The methods of this path; the framework knows only those of the first route that fits."""
    for method in METHODS:
        scope = {**request.scope, "method": "GET" if method == "HEAD" else method}
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.router.routes):
            yield method


def _id(request: Request) -> str:
    return str(request.scope.get(SCOPE, ""))


def _escaped(part: object) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")
