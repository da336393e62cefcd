"""Plain requests over TLS: certificates, names and versions are verified."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.clouds.http.raw_server import OK, RawServer, client

from skyferry.clouds.http.tls import tls_context
from skyferry.errors import ConnectionLost


def certified(folder: Path, name: str) -> ssl.SSLContext:
    """Return the context of a server with a certificate of its own for this name, which is in `folder`/ca.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    return context


@pytest.fixture
def trusting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Trust the certificate in `tmp_path`, by the variable that OpenSSL reads."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    tls_context.cache_clear()
    yield
    tls_context.cache_clear()


async def test_a_trusted_server_is_served_on_one_connection(tmp_path: Path, trusting: None) -> None:
    body, server = bytes(200_000), RawServer()
    server.add(server.answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body))
    context = certified(tmp_path, "localhost")
    async with server.run(context=context) as url, client(url) as http:
        for _ in range(3):
            assert (await http.exchange("PUT", url, {}, body, limit=len(body))).body == body
    assert server.connections == 1


async def test_an_unknown_certificate_and_a_wrong_name_are_refused(
    tmp_path: Path, trusting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = RawServer()
    server.add(server.answer(OK))
    async with server.run(context=certified(tmp_path, "elsewhere")) as url, client(url) as http:
        with pytest.raises(ConnectionLost, match="certificate is valid for its name"):
            await http.exchange("GET", url, {})
    monkeypatch.delenv("SSL_CERT_FILE")
    tls_context.cache_clear()
    async with server.run(context=certified(tmp_path, "localhost")) as url, client(url) as http:
        with pytest.raises(ConnectionLost, match="certificate"):
            await http.exchange("GET", url, {})
    assert not server.requests


async def test_tls_1_1_is_refused(tmp_path: Path, trusting: None) -> None:
    context = certified(tmp_path, "localhost")
    assert tls_context().minimum_version >= ssl.TLSVersion.TLSv1_2
    assert tls_context().verify_mode == ssl.CERT_REQUIRED
    assert tls_context().check_hostname
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    server = RawServer()
    server.add(server.answer(OK))
    async with server.run(context=context) as url, client(url) as http:
        with pytest.raises(ConnectionLost):
            await http.exchange("GET", url, {})


async def test_a_server_without_tls_is_a_lost_connection() -> None:

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with RawServer(refuse).run() as url, client(url) as http:
        with pytest.raises(ConnectionLost):
            await http.exchange("GET", url.replace("http:", "https:"), {})
