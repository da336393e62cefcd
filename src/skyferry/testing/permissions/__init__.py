"""Which permissions a recorded request asks for, by what its provider documents. One file per cloud.

A request that is in no table raises `UnknownRequest`: whoever teaches an adapter a new request says here what it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from skyferry.testing.servers.proxy import Exchange


class UnknownRequest(LookupError):
    """No table says what this request needs."""


@dataclass(frozen=True, slots=True, order=True)
class Ask:
    """A permission, and of what."""

    action: str
    resource: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, taken apart."""

    method: str
    segments: tuple[str, ...]  # of the path, decoded; the empty first one left out
    query: dict[str, str]

    @classmethod
    def of(cls, exchange: Exchange) -> Asked:
        """From what a proxy kept."""
        parts = urlsplit(exchange.target)
        segments = tuple(unquote(part) for part in parts.path.split("/")[1:])
        return cls(exchange.method, segments, dict(parse_qsl(parts.query, keep_blank_values=True)))

    def unknown(self) -> UnknownRequest:
        """To be raised."""
        return UnknownRequest(f"{self.method} {'/'.join(self.segments)} {self.query}")
