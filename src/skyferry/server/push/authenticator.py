"""The contract of push authentication: a request, what it proves, and the error for a request that proves nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from http import HTTPStatus
from typing import Protocol

from skyferry.frozen import dataclass
from skyferry.server.problems import ApiError


@dataclass(frozen=True, slots=True)
class PushRequest:
    """One request to a push endpoint."""

    headers: Mapping[str, str] = field(repr=False)  # names in lower case
    secret: str = field(repr=False)  # from the path or the query
    body: Callable[[], Awaitable[bytes]] = field(repr=False)  # reads the body on the first call


@dataclass(frozen=True, slots=True)
class Authentication:
    """The outcome for an authentic request."""

    message: bool = True  # the body is a message for the queue
    body: bytes = b""  # the authenticated part of the body; empty = all of it
    id: str = ""  # the provider's message id, which stays the same on redelivery
    reply: Mapping[str, object] = field(default_factory=dict)


class Authenticator(Protocol):
    """Accepts only requests of the provider that it was made for."""

    async def authenticate(self, request: PushRequest) -> Authentication:
        """Authenticate `request`.

        Raises ApiError if the request is not authentic, SkyferryError if that cannot be determined now. MUST NOT read the
        body before it has checked everything that can be checked without the body.
        """


def not_authentic(detail: str, hint: str = "", status: HTTPStatus = HTTPStatus.UNAUTHORIZED) -> ApiError:
    """Return the error for a request that is forged, expired, replayed, or meant for another receiver."""
    return ApiError(status, detail, kind="not-authentic", hint=hint)


def bearer_token(request: PushRequest) -> str:
    """Return the token of the Authorization header; "" = none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
