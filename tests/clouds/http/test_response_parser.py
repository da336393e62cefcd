"""The parser of responses, on its own: any split gives the same result, and nothing irregular passes."""

from __future__ import annotations

import random

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skyferry.bodies import LARGE, BufferPool
from skyferry.clouds.http.response_parser import BYTES, HEAD, INTERIM, ResponseParser
from skyferry.errors import ConnectionLost, StoreError

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LIMIT = 1000


def parse(data: bytes, method: str = "GET", cuts: tuple[int, ...] = (), limit: int = LIMIT) -> ResponseParser:
    """Feed the data in pieces."""
    parser = ResponseParser(method, limit, limit)
    for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True):
        if data[start:end]:
            parser.feed(data[start:end])
    return parser


def every_byte(data: bytes) -> tuple[int, ...]:
    return tuple(range(1, len(data)))


GOOD = {
    "length": (OK + b"Content-Length: 5\r\nX: y \r\n\r\nhello", 200, b"hello"),
    "empty": (OK + b"Content-Length: 0\r\n\r\n", 200, b""),
    "chunks": (CHUNKED + b"2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\n\r\n", 200, b"hello"),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", 200, b"hello"),
    "interim": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 P\r\nA: b\r\n\r\n" + OK + b"content-length: 2\r\n\r\nok", 200, b"ok"),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b""),
    "error": (b"HTTP/1.1 503 Slow Down\r\nContent-Length: 4\r\n\r\nslow", 503, b"slow"),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
    "close": (OK + b"Connection: keep-alive, Close\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
    "old": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_valid_response_is_the_same_in_any_pieces(name: str) -> None:
    data, status, body = GOOD[name]
    for cuts in ((), every_byte(data)):
        parser = parse(data, cuts=cuts)
        assert (parser.complete, parser.excess, parser.status, parser.body) == (True, False, status, body)
        assert parser.keep_alive is (name not in ("close", "old"))


@given(st.sampled_from(sorted(GOOD)), st.sets(st.integers(1, 150), max_size=8), st.binary(min_size=1, max_size=9))
def test_bytes_after_the_response_are_noticed_in_any_pieces(name: str, cuts: set[int], more: bytes) -> None:
    data, status, body = GOOD[name]
    whole = data + more
    parser = parse(whole, cuts=tuple(sorted(cut for cut in cuts if cut < len(whole))))
    assert (parser.complete, parser.excess, parser.status, parser.body) == (True, True, status, body)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_head_has_no_body_whatever_its_length(method: str) -> None:
    parser = parse(OK + b"Content-Length: 99999\r\n\r\n", "HEAD")
    assert (parser.complete, parser.body, parser.headers["content-length"]) == (True, b"", "99999")
    assert parse(OK + b"Content-Length: 3\r\n\r\nabc", "HEAD").excess


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    parser = parse(OK + b"\r\nhel")
    assert not parser.complete
    parser.feed(b"lo")
    parser.end()
    assert (parser.complete, parser.body, parser.keep_alive) == (True, b"hello", False)


def test_the_first_value_of_a_repeated_name_counts() -> None:
    parser = parse(
        OK + b"A: \xe9 1\r\nB:\r\na: 2\r\nConnection: keep-alive\r\nconnection: x, Close\r\nContent-Length: 0\r\n\r\n"
    )
    assert parser.headers == {"a": "\udce9 1", "b": "", "connection": "keep-alive", "content-length": "0"}
    assert (parser.complete, parser.keep_alive) == (True, False)


IRREGULAR = {
    "bare LF after the status": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "bare LF after a header": OK + b"A: b\nContent-Length: 2\r\n\r\nok",
    "bare CR": OK + b"A: b\rc\r\n\r\n",
    "length and coding": OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
    "coding and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nok",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "the same length twice": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "a list of lengths": OK + b"Content-Length: 2, 2\r\n\r\nok",
    "a negative length": OK + b"Content-Length: -2\r\n\r\nok",
    "a signed length": OK + b"Content-Length: +2\r\n\r\nok",
    "a length in hexadecimal": OK + b"Content-Length: 0x2\r\n\r\nok",
    "an enormous length": OK + b"Content-Length: 99999999999999999999999\r\n\r\nok",
    "another coding": OK + b"Transfer-Encoding: gzip\r\n\r\nok",
    "two codings": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a folded header": OK + b"A: b\r\n c\r\n\r\n",
    "a space before the colon": OK + b"A : b\r\n\r\n",
    "a header without a name": OK + b": b\r\n\r\n",
    "a NUL": OK + b"A: b\0c\r\n\r\n",
    "a NUL in the reason": b"HTTP/1.1 200 O\0K\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "RTSP": b"RTSP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "an empty line first": b"\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok",
    "no HTTP": b"220 mail ready\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02F",
    "a status of two digits": b"HTTP/1.1 99 Low\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 High\r\n\r\n",
    "an upgrade": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "many interim responses": b"HTTP/1.1 100 Continue\r\n\r\n" * (INTERIM + 1),
    "a large head": OK + b"A: " + b"b" * HEAD,
    "many headers": OK + b"A: b\r\n" * 201 + b"\r\n",
    "no chunk size": CHUNKED + b"\r\n",
    "a negative chunk": CHUNKED + b"-2\r\nok\r\n0\r\n\r\n",
    "a chunk size in words": CHUNKED + b"two\r\nok\r\n0\r\n\r\n",
    "a chunk size with a space before": CHUNKED + b" 2\r\nok\r\n0\r\n\r\n",
    "a chunk size of 17 digits": CHUNKED + b"00000000000000002\r\nok\r\n0\r\n\r\n",
    "a chunk size of 0x": CHUNKED + b"0x2\r\nok\r\n0\r\n\r\n",
    "a bare LF after a chunk size": CHUNKED + b"2\nok\r\n0\r\n\r\n",
    "a chunk longer than declared": CHUNKED + b"2\r\nokay\r\n0\r\n\r\n",
    "a chunk shorter than declared": CHUNKED + b"5\r\nok\r\n0\r\n\r\n",
    "an endless chunk extension": CHUNKED + b"2;" + b"a" * 2000,
    "an endless trailer": CHUNKED + b"0\r\n" + b"A: b\r\n" * 2000,
    "a trailer without a name": CHUNKED + b"0\r\nno name\r\n\r\n",
}


@pytest.mark.parametrize("name", IRREGULAR)
def test_an_irregular_response_is_refused_at_once(name: str) -> None:
    """In any pieces, and without the end of the connection."""
    for cuts in ((), every_byte(IRREGULAR[name])):
        with pytest.raises(ConnectionLost):
            parse(IRREGULAR[name], cuts=cuts)


@pytest.mark.parametrize(
    "data",
    [OK + b"Content-Length: 1001\r\n\r\n", CHUNKED + b"ffffffffffffffff\r\n", CHUNKED + b"3E9\r\n", OK + b"\r\n" + bytes(1001)],
)  # fmt: skip
def test_a_body_above_the_limit_is_refused_before_it_is_read(data: bytes) -> None:
    with pytest.raises(StoreError, match=r"that were asked for|where 1000 were asked for"):
        parse(data)


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_response_that_ends_early_is_no_success(name: str) -> None:
    data = GOOD[name][0]
    for length in range(len(data)):
        parser = parse(data[:length])
        assert not parser.complete
        with pytest.raises(ConnectionLost):
            parser.end()


def test_no_error_repeats_what_the_server_says() -> None:
    for data in (OK + b"PLANTED : x\r\n\r\n", CHUNKED + b"PLANTED\r\n", CHUNKED + b"0\r\nPLANTED\r\n"):
        with pytest.raises(ConnectionLost) as refused:
            parse(data)
        assert "PLANTED" not in str(refused.value)


def h11_reads(data: bytes) -> tuple[int, dict[str, str], bytes] | None:
    """Return what h11 makes of a whole connection: a status, the first value of each name and a body, or None if it refuses it."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=2**20)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    connection.send(h11.EndOfMessage())
    status, body = 0, b""
    headers: dict[str, str] = {}
    try:
        connection.receive_data(data)
        connection.receive_data(b"")
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
                for name, value in event.headers:
                    headers.setdefault(name.decode(), value.decode(*BYTES))
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return status, headers, body
            elif event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                return None
    except h11.RemoteProtocolError:
        return None


PARTS = st.sampled_from(
    [
        *(b"HTTP/1.1 ", b"HTTP/1.0 ", b"200 OK", b"204 No", b"503 ", b"100 Continue", OK, CHUNKED),
        *(b"\r\n", b"\n", b"\r", b" ", b":", b"\t", b"\0", b"\xff", b"\r\n\r\n", b"hello", b"a", b";"),
        *(b"Content-Length: ", b"content-length:", b"Transfer-Encoding: ", b"chunked", b"Connection: close"),
        *(b"A: ", b"a:\t", b"B: b\r\n", b"b: \xc3\xa9 c \r\n", b"C:\r\n"),
        *(b"0", b"1", b"5", b"-", b"+", b"ff", b"5\r\nhello\r\n", b"0\r\n\r\n", b"Content-Length: 5\r\n\r\nhello"),
    ]
)


@given(
    st.one_of(st.lists(PARTS, max_size=14).map(b"".join), st.binary(max_size=60)),
    st.sets(st.integers(1, 200), max_size=6),
)
@example(OK + b"Content-Length: 5\r\n\r\nhello\n", set())
def test_nothing_passes_that_h11_refuses(data: bytes, cuts: set[int]) -> None:
    """And what passes is the same: random pieces of responses, cut at random places."""
    try:
        parser = parse(data, cuts=tuple(sorted(cut for cut in cuts if cut < len(data))))
        if not parser.complete:
            parser.end()
    except StoreError:
        return
    assert h11_reads(data) == (parser.status, parser.headers, parser.body)


def test_a_large_range_is_read_into_memory_that_is_used_again() -> None:
    """However it is cut, with the end found to the byte. An object that is not a range, and an error, are bytes as before."""
    body = random.Random(1).randbytes(LARGE + 5)
    start = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n".encode()
    head = start + f"content-range: bytes 0-{len(body) - 1}/{2 * LARGE}\r\n\r\n".encode()
    buffers = BufferPool()
    for step in (1000, 4096, LARGE, 2 * LARGE):
        parser = ResponseParser("GET", 2 * LARGE, 100, buffers)
        for at in range(0, len(head) + len(body), step):
            assert not parser.complete
            parser.feed((head + body)[at : at + step])
        assert type(parser.body) is not bytes
        assert (parser.body, parser.complete, parser.excess) == (body, True, False)
        parser.feed(b"x")
        assert (parser.body, parser.excess) == (body, True)
    parser = ResponseParser("GET", 2 * LARGE, 100, buffers)
    parser.feed(head + body[:7])
    assert parser.body == body[:7], "what has come of it"
    parser.feed(body[7:] + b"more")
    assert (parser.body, parser.excess) == (body, True)
    whole = ResponseParser("GET", 2 * LARGE, 100, buffers)
    whole.feed(start + b"\r\n" + body[:7])
    whole.feed(body[7:])
    assert type(whole.body) is bytes
    assert whole.body == body
