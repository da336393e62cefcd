"""Translation of a cloud's error responses: one mechanism, and one table per API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import TypeAlias
from xml.etree import ElementTree

from skyferry.clouds.credentials import Expiry
from skyferry.clouds.http import HttpResponse, parse_xml, retry_after
from skyferry.errors import (
    BucketNotFound,
    IdentityRefused,
    PermissionDenied,
    PreconditionFailed,
    SkyferryError,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
    Throttled,
    Unsupported,
)
from skyferry.frozen import dataclass

Meaning: TypeAlias = tuple[type[SkyferryError], str]  # the error to raise, and a hint for the operator


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """An error response, parsed."""

    status: int
    code: str = ""  # "" if the response has none: it may come from another server
    message: str = ""
    region: str = ""  # of the bucket, if the response names it
    request_id: str = ""
    retry_after: float | None = None  # seconds
    tries: int = 1  # of the request, see `HttpResponse`


# The meaning of a status at every API, for responses without a code or with an unknown one.
STATUSES: dict[int, Meaning] = {
    401: (IdentityRefused, ""),
    403: (PermissionDenied, ""),
    404: (BucketNotFound, ""),  # never an object: another server's 404 must not cause deletes
    408: (StoreTimeout, ""),
    412: (PreconditionFailed, ""),
    429: (Throttled, ""),
    501: (Unsupported, ""),
}


def _as_it_is(error: ErrorResponse, meaning: Meaning) -> Meaning:
    return meaning


@dataclass(frozen=True, slots=True)
class ErrorTable:
    """The error responses of one API."""

    codes: Mapping[str, Meaning]
    statuses: Mapping[int, Meaning]
    endpoint: str  # hint if a bucket is missing, and the code does not show that the API itself has answered
    refine: Callable[[ErrorResponse, Meaning], Meaning] = _as_it_is  # what depends on more than the code
    waits: Mapping[str, float] = field(default_factory=dict)  # code -> seconds until the next attempt

    def translate(self, error: ErrorResponse, where: str) -> SkyferryError:
        """Return the error to raise. `where` names the store and the key."""
        kind, hint = self.refine(error, self.codes.get(error.code) or self._fallback(error.status))
        if kind is StoreUnavailable and error.status == 503 and error.retry_after is not None:
            kind = Throttled
        wait = self.waits.get(error.code, error.retry_after)
        found = kind(_describe(error), where=where, hint=hint, retry_after=wait)
        found.tries = error.tries
        return found

    def _fallback(self, status: int) -> Meaning:
        kind, hint = self.statuses.get(status, (StoreUnavailable if status >= 500 else StoreError, ""))
        return kind, hint or (self.endpoint if kind is BucketNotFound else "")


def parse_error_document(body: bytes) -> ElementTree.Element:
    """Parse the XML of an error response; an empty element for anything else, such as the page of a proxy."""
    if body.lstrip(b"\xef\xbb\xbf \r\n").startswith(b"<"):
        try:
            return parse_xml(body)
        except StoreError:
            pass
    return ElementTree.Element("Error")


def find_expiry(answer: HttpResponse) -> Expiry:
    """Return the validity of a bearer token by the status alone (RFC 6750, 3.1)."""
    return Expiry.CERTAIN if answer.status == 401 else Expiry.NONE


def read_delay(answer: HttpResponse) -> float | None:
    """Return the seconds that a response asks to wait; None if it does not ask."""
    return retry_after(answer.headers.get("retry-after", ""))


def _describe(error: ErrorResponse) -> str:
    """Describe an error response for users and the provider's support."""
    facts = [error.code or str(error.status)]
    if error.request_id:
        facts.append(f"request {error.request_id}")
    return f"{error.message.strip() or error.code or f'HTTP {error.status}'} [{', '.join(facts)}]"
