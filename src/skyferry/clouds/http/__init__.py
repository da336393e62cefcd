"""The HTTP client that stores and queues of all clouds share."""

from skyferry.clouds.http.client import Http, proxy_of
from skyferry.clouds.http.limits import DOCUMENT, Limits
from skyferry.clouds.http.response import HttpResponse, parse_xml, retry_after, seconds

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
