"""A response, and what is parsed from its headers and its body. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from math import isfinite
from time import time
from typing import Any
from xml.etree import ElementTree

import orjson

from skyferry.errors import StoreError
from skyferry.frozen import dataclass
from skyferry.regex import compile_lazily

PATIENCE = 3600.0  # seconds; a longer Retry-After is capped
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# RFC 9110, 5.6.7.
_HTTP_DATE = compile_lazily(r"[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT")


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response, read completely."""

    status: int
    headers: Mapping[str, str]  # names in lower case; the first value of a repeated name
    body: bytes
    tries: int = 1  # of the request: an earlier one may have had its effect

    def xml(self) -> ElementTree.Element:
        """Parse the body as XML. Raise StoreError."""
        return parse_xml(self.body)

    def json(self) -> Any:
        """Parse the body as JSON. Raise StoreError."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as broken:
            raise StoreError(
                "the answer is not JSON; check whether another server answers at this endpoint"
            ) from broken


def is_range(status: int, headers: Mapping[str, str], asked: Mapping[str, str]) -> bool:
    """Return True if the body is the requested range of the requested version."""
    pinned = asked.get("if-match", headers.get("etag"))
    return status == 206 and pinned == headers.get("etag")


def parse_xml(body: bytes) -> ElementTree.Element:
    """Parse an XML document. Raise StoreError."""
    try:
        # S3 sends blanks first while it works.
        return ElementTree.fromstring(body.lstrip())  # noqa: S314 - expat bounds entities, `limit` the rest
    except ElementTree.ParseError as broken:
        raise StoreError("the answer is not XML; check whether another server answers at this endpoint") from broken


def retry_after(header: str) -> float | None:
    """Parse a Retry-After header (RFC 9110, 10.2.3: seconds or a date) to seconds, at most PATIENCE; None without one."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parse_mail_date(header) - time()
        except ValueError:
            return None
    return min(max(0.0, seconds), PATIENCE) if isfinite(seconds) else None


@lru_cache(maxsize=256)  # objects that were written together have the same date
def seconds(date: str) -> float:
    """Parse an HTTP date to seconds since 1970; 0 if it is malformed."""
    try:
        if found := _HTTP_DATE.fullmatch(date):  # parsed at a tenth of the cost of e-mail dates
            day, month, *others = found.groups()
            year, hour, minute, second = map(int, others)
            return datetime(year, MONTHS.index(month) + 1, int(day), hour, minute, second, tzinfo=UTC).timestamp()
        return parse_mail_date(date)
    except ValueError:
        return 0.0


def parse_mail_date(date: str) -> float:
    """Parse a date as in e-mail, in whatever form, to seconds since 1970. Raise ValueError."""
    from email.utils import parsedate_to_datetime  # here, for it is slow to import

    return parsedate_to_datetime(date).timestamp()
