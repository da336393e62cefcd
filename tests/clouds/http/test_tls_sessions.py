"""New connections resume a TLS session of the same server, for a limited time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.certificates import write_certificate
from tests.clouds.http.raw_server import OK, RawServer, Serve, client

from skyferry.clouds.http import Http, Limits
from skyferry.clouds.http.tls import AGE, TlsSession, tls_context
from skyferry.errors import ConnectionLost

LAST = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")  # the next request needs a new connection


def serve_as(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """Return the context of a server, with ticket keys of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for localhost into a new folder."""
    folder.mkdir()
    return write_certificate(folder, "localhost")


def find_port(url: str) -> int:
    """Return the port of a server."""
    return urlsplit(url).port or 0


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """Trust this certificate alone."""
    found = make_certificate(tmp_path / "trusted")
    monkeypatch.setenv("SSL_CERT_FILE", str(found[0]))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    tls_context.cache_clear()
    yield found
    tls_context.cache_clear()


class Server:
    """Answers one request on each connection, and notes which of these resumed a session."""

    def __init__(self) -> None:
        self.raw = RawServer(self._serve)
        self.resumed: list[bool] = []
        self.clients: list[object] = []  # the certificate of each

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection: ssl.SSLObject = writer.get_extra_info("ssl_object")
        self.resumed.append(bool(connection.session_reused))
        self.clients.append(connection.getpeercert())
        answer: Serve = self.raw.answer(LAST)
        await answer(reader, writer)


async def get(http: Http, url: str, count: int = 1) -> None:
    """Make requests, each on a new connection."""
    for _ in range(count):
        assert (await http.exchange("GET", url, {})).body == b"ok"


async def test_connections_resume_the_first_session(certificate: tuple[Path, Path]) -> None:
    """Also at the same time, and after the connection that it comes from has ended."""
    server = Server()
    async with server.raw.run(context=serve_as(certificate)) as url, client(url) as http:
        await get(http, url, 3)
        await asyncio.gather(*(get(http, url) for _ in range(5)))
    assert server.resumed == [False] + 7 * [True]


async def test_a_server_that_forgets_its_keys_is_verified_again(certificate: tuple[Path, Path]) -> None:
    """A refused session is not offered again, and the next one is read when the first would have ended."""
    server = Server()
    restarted = Server()
    async with server.raw.run(context=serve_as(certificate)) as url:
        http = Http("store", url, Limits())
        await get(http, url, 2)
    async with restarted.raw.run(context=serve_as(certificate), port=find_port(url)):
        await get(http, url, 3)
        (pool,) = http._plain._pools.values()
        assert pool._tls is not None
        pool._tls._ends = 0.0
        await get(http, url, 2)
    await http.close()
    assert server.resumed == [False, True]
    assert restarted.resumed == [False, False, False, False, True]


async def test_another_certificate_is_not_trusted_because_of_a_session(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    """A server without the keys of the tickets has to show a certificate."""
    server, other = Server(), Server()
    unknown = serve_as(make_certificate(tmp_path / "unknown"))
    async with server.raw.run(context=serve_as(certificate)) as url:
        http = Http("store", url, Limits())
        await get(http, url, 2)
    async with other.raw.run(context=unknown, port=find_port(url)):
        for _ in range(2):
            with pytest.raises(ConnectionLost, match="certificate"):
                await get(http, url)
    await http.close()
    assert server.resumed == [False, True]
    assert not other.resumed


async def test_a_session_is_of_one_port(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    """Another server of the same host has to show a certificate that is trusted."""
    server, other = Server(), Server()
    unknown = serve_as(make_certificate(tmp_path / "unknown"))
    async with (
        server.raw.run(context=serve_as(certificate)) as url,
        other.raw.run(context=unknown) as other_url,
        client(url) as http,
    ):
        await get(http, url, 2)
        with pytest.raises(ConnectionLost, match="certificate"):
            await get(http, other_url)
        await get(http, url)
    assert server.resumed == [False, True, True]
    assert not other.resumed


async def test_clients_that_trust_others_keep_their_sessions_apart(
    certificate: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One host has two servers, and each client trusts one of them."""
    another = make_certificate(tmp_path / "another")
    server, other = Server(), Server()
    async with (
        server.raw.run(context=serve_as(certificate)) as url,
        other.raw.run(context=serve_as(another)) as other_url,
        client(url) as first,
        client(other_url) as second,
    ):
        await get(first, url, 2)
        monkeypatch.setenv("SSL_CERT_FILE", str(another[0]))
        tls_context.cache_clear()
        await get(second, other_url, 2)
        with pytest.raises(ConnectionLost, match="certificate"):
            await get(second, url)
        await get(first, url)
        await get(second, other_url)
    assert server.resumed == other.resumed == [False, True, True]


async def test_a_resumed_session_is_of_the_same_client(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    """The server knows the client's certificate from the session, and a client without one gets no answer."""
    own = make_certificate(tmp_path / "client")
    tls_context().load_cert_chain(*own)
    context = serve_as(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(own[0])
    server = Server()
    async with server.raw.run(context=context) as url:
        async with client(url) as http:
            await get(http, url, 3)
        tls_context.cache_clear()
        async with client(url) as http:
            with pytest.raises(ConnectionLost):
                await get(http, url)
    assert server.resumed[:3] == [False, True, True]
    assert server.clients[0]
    assert server.clients[:3] == 3 * server.clients[:1]
    assert not any(server.clients[3:])


@pytest.mark.parametrize("tickets", [0, 1, 2])
async def test_as_many_tickets_as_a_server_likes(certificate: tuple[Path, Path], tickets: int) -> None:
    """One is enough for all connections, and a server without any is asked for one each hour at most."""
    context, server = serve_as(certificate), Server()
    context.num_tickets = tickets
    async with server.raw.run(context=context) as url, client(url) as http:
        await get(http, url, 4)
    assert server.resumed == [False] + 3 * [tickets > 0]


async def test_sessions_of_tls_1_2_are_not_resumed(certificate: tuple[Path, Path]) -> None:
    """Their keys would be those of the first connection."""
    context, server = serve_as(certificate), Server()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with server.raw.run(context=context) as url, client(url) as http:
        await get(http, url, 3)
    assert server.resumed == 3 * [False]


async def test_a_session_ends_after_an_hour_however_often_it_is_resumed(certificate: tuple[Path, Path]) -> None:
    """Tickets of resumed connections do not prolong it."""
    session, server = TlsSession(tls_context()), Server()

    async def connect(url: str, now: float) -> None:
        offered = session.offer(now)
        reader, writer = await asyncio.open_connection(
            "localhost", find_port(url), ssl=session.context, server_hostname="localhost"
        )
        connected: ssl.SSLObject = writer.get_extra_info("ssl_object")
        session.check(offered, connected)
        writer.write(b"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        await reader.readexactly(len(LAST))
        session.learn(connected, now)
        writer.transport.abort()

    async with server.raw.run("localhost", context=serve_as(certificate)) as url:
        for now in (0.0, 1.0, AGE - 1, AGE, AGE + 1, 2 * AGE - 1, 2 * AGE):
            await connect(url, now)
    assert server.resumed == [False, True, True, False, True, True, False]
