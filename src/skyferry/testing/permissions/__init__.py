"""The permissions that a recorded request needs, from its provider's documentation. One file per cloud.

A request that is in no table raises `UnknownRequest`. Add each new request of an adapter to the table of its cloud.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from skyferry.testing.servers.proxy import Exchange


class UnknownRequest(LookupError):
    """No table lists this request."""


@dataclass(frozen=True, slots=True, order=True)
class Ask:
    """A permission, and the resource that it concerns."""

    action: str
    resource: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A parsed request."""

    method: str
    segments: tuple[str, ...]  # of the path, decoded; the empty first one left out
    query: dict[str, str]

    @classmethod
    def of(cls, exchange: Exchange) -> Asked:
        """Parse a request that a proxy recorded."""
        parts = urlsplit(exchange.target)
        segments = tuple(unquote(part) for part in parts.path.split("/")[1:])
        return cls(exchange.method, segments, dict(parse_qsl(parts.query, keep_blank_values=True)))

    def unknown(self) -> UnknownRequest:
        """Return the error to raise for this request."""
        return UnknownRequest(f"{self.method} {'/'.join(self.segments)} {self.query}")
