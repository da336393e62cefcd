"""The HTTP client that stores and queues of all clouds share."""

from skyferry.clouds.http.client import (
    DOCUMENT,
    Http,
    HttpResponse,
    Limits,
    parse_xml,
    proxy_of,
    retry_after,
    seconds,
)

__all__ = [
    "DOCUMENT",
    "Http",
    "HttpResponse",
    "Limits",
    "parse_xml",
    "proxy_of",
    "retry_after",
    "seconds",
]
