"""Encode a request. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from functools import lru_cache

from skyferry import __version__
from skyferry.bodies import StreamedBody
from skyferry.frozen import dataclass
from skyferry.regex import compile_lazily

USER_AGENT = f"skyferry/{__version__}"
METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE", "POST"})
JOINED = 64 * 2**10  # bytes of a request up to which head and body are one piece
PIECE = 256 * 2**10  # bytes that are given to a transport at once
_ORIGIN = compile_lazily(r"(https?)://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_TARGET = compile_lazily(r"/[!-\"$-~]*")  # visible ASCII without the # of a fragment
_NAME = compile_lazily(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PORTS = {"http": 80, "https": 443}
_FRAMING = frozenset(
    {"connection", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)


@dataclass(frozen=True, slots=True)
class HttpOrigin:
    """The server of a URL."""

    secure: bool
    host: str  # an IPv6 address without brackets
    port: int
    authority: str  # for the Host header: without the default port


@lru_cache(256)
def parse_origin(text: str) -> HttpOrigin | None:
    """Parse a scheme and an authority; None if they are malformed or unusual (user, zone, name that is not ASCII)."""
    found = _ORIGIN.fullmatch(text)
    if found is None:
        return None
    scheme, host, port = found[1], found[2], int(found[3] or _PORTS[found[1]])
    authority = host if port == _PORTS[scheme] else f"{host}:{port}"
    return HttpOrigin(scheme == "https", host.strip("[]").rstrip("."), port, authority)


@dataclass(frozen=True, slots=True)
class PlainRequest:
    """A request without anything unusual."""

    origin: HttpOrigin
    method: str
    head: bytes
    body: tuple[bytes, ...]  # its parts in memory
    idempotent: bool  # it may be sent twice (RFC 9110, 9.2.2)
    stream: StreamedBody | None = None  # the body, if it is not in memory

    def split(self) -> deque[bytes | memoryview]:
        """Return the pieces to send, without those of a stream: one, if they are small."""
        if len(self.head) + sum(map(len, self.body)) <= JOINED:
            return deque([b"".join((self.head, *self.body))])
        return deque([self.head, *(piece for part in self.body for piece in split_body(part))])


def split_body(data: bytes) -> Iterator[memoryview]:
    """Yield the pieces to send, without copies."""
    view = memoryview(data)
    return (view[at : at + PIECE] for at in range(0, len(view), PIECE))


def encode_request(
    method: str, url: str, headers: Mapping[str, str], body: tuple[bytes, ...] | StreamedBody
) -> PlainRequest | None:
    """Return the request; None if anything in it is unusual.

    `url` is already encoded.
    """
    at = url.find("/", len("https://"))  # behind the authority, which has one character at least
    target = url[at:] if at >= 0 else ""
    origin = parse_origin(url[:at] if at >= 0 else url)
    if origin is None or method not in METHODS or _TARGET.fullmatch(target) is None:
        return None
    layout = _lay_out(tuple(headers), origin.authority)
    if layout is None:
        return None
    if layout.sized:
        others = {name: value for name, value in headers.items() if name.lower() != "content-length"}
        return encode_request(method, url, others, body)
    stream, body = (body, ()) if isinstance(body, StreamedBody) else (None, body)
    lines = layout.pieces.copy()
    lines[1::2] = headers.values()
    text = "".join(lines)
    if text.count("\n") != layout.ends or text.count("\r") != layout.ends or "\0" in text:  # a value would add a header
        return None
    size = stream.size if stream else sum(map(len, body))
    try:
        head = f"{method} {target} HTTP/1.1\r\n{text}content-length: {size}\r\n\r\n".encode()
    except UnicodeEncodeError:
        return None
    return PlainRequest(origin, method, head, body, method != "POST" and not layout.ranged, stream)


@dataclass(frozen=True, slots=True)
class _Layout:
    """The lines of all requests with the same names of headers."""

    pieces: list[str]  # the values belong at the odd places
    ends: int  # ends of lines in them
    ranged: bool  # a range belongs to an upload that goes on behind it
    sized: bool  # it has a length, but that of the body counts


@lru_cache(1024)
def _lay_out(names: tuple[str, ...], authority: str) -> _Layout | None:
    """Return the layout; None if a name is malformed, or affects the connection or the body's length.

    Most requests have the names of one before them.
    """
    lower = frozenset(name.lower() for name in names)
    if not all(map(_NAME.fullmatch, names)) or not lower.isdisjoint(_FRAMING):
        return None
    pieces, end = [], ""
    for name in names:
        pieces += [f"{end}{name}: ", ""]
        end = "\r\n"
    pieces.append(end)
    if "host" not in lower:
        pieces[-1] += f"host: {authority}\r\n"
    if "user-agent" not in lower:
        pieces[-1] += f"user-agent: {USER_AGENT}\r\n"
    return _Layout(pieces, "".join(pieces).count("\n"), "content-range" in lower, "content-length" in lower)
