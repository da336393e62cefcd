"""TLS contexts for servers of one's own, from files that may be rotated: a context is made for each connection."""

from __future__ import annotations

import asyncio
import ssl

from skyferry.config.servers.tls import TlsSettings
from skyferry.errors import ConfigError

PROBE = 3.0  # seconds


def make_tls_context(settings: TlsSettings, name: str, *, verify: bool = True, host: bool = True) -> ssl.SSLContext:
    """Return a context that verifies the server by the settings. Raises ConfigError for an unreadable file. Blocks.

    Without `verify`, the connection is encrypted, but any server is accepted; without `host`, any name of the certificate.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca_file and str(settings.ca_file))
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(f) for f in (settings.ca_file, settings.cert_file, settings.key_file) if f)
        reason = (error.strerror if not isinstance(error, ssl.SSLError) else "") or "not a certificate or key in PEM"
        raise ConfigError(f"the files of tls cannot be read: {reason}", where=name, hint=f"Check {files}.") from error
    context.check_hostname = verify and host
    if not verify:
        context.verify_mode = ssl.CERT_NONE
    return context


async def expects_tls(host: str, port: int) -> bool:
    """Return True if a server completes a TLS handshake, with whatever certificate. Nothing is sent after it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(PROBE):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True


async def answers_without_tls(host: str, port: int, question: bytes, answers: bytes) -> bool:
    """Return True if a server answers a plain `question`, which contains no secret, with one of the bytes `answers` first."""
    try:
        async with asyncio.timeout(PROBE):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(question)
                said = await reader.read(1)
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError):
        return False
    return bool(said) and said in answers
