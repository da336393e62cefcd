"""Azure Event Grid: the validation handshake of a subscription, and its events.

https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema
"""

from __future__ import annotations

from http import HTTPStatus

import orjson

from skyferry.server.problems import ApiError
from skyferry.server.push.authenticator import Authentication, Authenticator, PushRequest


class EventGridAuthenticator:
    """Answers the handshake of Event Grid once `inner` has authenticated the request."""

    def __init__(self, inner: Authenticator) -> None:
        self._inner = inner

    async def authenticate(self, request: PushRequest) -> Authentication:
        """See `Authenticator`."""
        await self._inner.authenticate(request)
        match request.headers.get("aeg-event-type", ""):
            case "SubscriptionValidation":
                code = _validation_code(await request.body())
                return Authentication(message=False, reply={"validationResponse": code})
            case "SubscriptionDeletion" | "Unsubscribe":
                return Authentication(message=False)
        return Authentication()


def _validation_code(body: bytes) -> str:
    try:
        return str(orjson.loads(body)[0]["data"]["validationCode"])
    except (ValueError, LookupError, TypeError):
        detail = "The validation event contains no validation code."
        raise ApiError(HTTPStatus.BAD_REQUEST, detail, kind="invalid-request") from None
