"""CPU of new connections without TLS, with it, and with a resumed session.

    python -m bench.handshakes [--connections 60] [--rounds 7]

One request on each connection to a server in another process, one after the other, by the client that stores use. The server
has a certificate that signs itself, with a key on P-256, or one of RSA with two more above it, as clouds do. For full
handshakes, the client takes no session from the server's tickets. Rounds are interleaved, and the least of them is printed:
user and system time of this process for each connection.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import ipaddress
import os
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from unittest.mock import patch

from bench._tools import serve_in_process
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from skyferry.clouds.http import Http, Limits
from skyferry.clouds.http.tls import TlsSession

CERTIFICATES = {"P-256, signs itself": 0, "RSA, three below the root": 3}  # certificates below the trusted one
MODES = ("full", "resumed")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def write_chain(folder: Path, below: int) -> None:
    """Write the trusted certificate, and the server's with those between and its key."""
    now, address = datetime.datetime.now(datetime.UTC), ipaddress.ip_address("127.0.0.1")
    keys: list[rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey] = [
        rsa.generate_private_key(65537, 2048) if below else ec.generate_private_key(ec.SECP256R1())
        for _ in range(below + 1)
    ]
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"certificate {n}")]) for n in range(below + 1)]
    chain = [
        x509.CertificateBuilder(names[max(n - 1, 0)], names[n], keys[n].public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(address)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=not below or n < below, path_length=None), critical=True)
        .sign(keys[max(n - 1, 0)], hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
        for n in range(below + 1)
    ]
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "trusted.pem").write_bytes(chain[0])
    (folder / "server.pem").write_bytes(b"".join(reversed(chain[1:] or chain)))
    (folder / "key.pem").write_bytes(keys[-1].private_bytes(serialization.Encoding.PEM, *form))


async def _serve(folder: str) -> None:
    """Answer one request on each connection, and print the port."""
    context = None
    if folder:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(Path(folder) / "server.pem", Path(folder) / "key.pem")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


@contextmanager
def serve(folder: Path | None) -> Iterator[str]:
    """Yield the URL of a server in another process."""
    with serve_in_process("bench.handshakes", str(folder or "")) as port:
        yield f"{'https' if folder else 'http'}://127.0.0.1:{port}/"


async def measure(url: str, connections: int) -> float:
    """Return the microseconds of CPU for each connection, after five that do not count."""
    http = Http("store", url, Limits(), direct=True)
    began = 0.0
    for number in range(5 + connections):
        if number == 5:
            began = time.process_time()
        await http.exchange("GET", url, {})
    spent = time.process_time() - began
    await http.close()
    return 1e6 * spent / connections


def find_loops() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return the event loops that are installed."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    try:
        import uvloop

        loops["uvloop"] = uvloop.new_event_loop
    except ImportError:
        pass
    return loops


def main(connections: int, rounds: int) -> None:
    """Print the table."""
    loops, least = find_loops(), dict[tuple[str, str, str], float]()
    with ExitStack() as stack:
        folder, urls = Path(stack.enter_context(tempfile.TemporaryDirectory())), {}
        urls["none", "no TLS"] = stack.enter_context(serve(None))
        trusted = b""
        for kind, below in CERTIFICATES.items():
            (certificates := folder / str(below)).mkdir()
            write_chain(certificates, below)
            trusted += (certificates / "trusted.pem").read_bytes()
            url = stack.enter_context(serve(certificates))
            urls.update({(kind, mode): url for mode in MODES})
        (folder / "trusted.pem").write_bytes(trusted)
        os.environ["SSL_CERT_FILE"] = str(folder / "trusted.pem")
        for _ in range(rounds):
            for loop, make in loops.items():
                for (kind, mode), url in urls.items():
                    unused = patch.object(TlsSession, "learn") if mode == "full" else nullcontext()
                    with unused, asyncio.Runner(loop_factory=make) as runner:
                        spent = runner.run(measure(url, connections))
                    least[kind, mode, loop] = min(spent, least.get((kind, mode, loop), spent))
    print(f"{ssl.OPENSSL_VERSION}, Python {sys.version.split()[0]}, load {os.getloadavg()[0]:.1f} at the end\n")
    print("| certificate | handshake |", *(f"{loop}, µs |" for loop in loops))
    print("|---|---|" + "---|" * len(loops))
    for kind, mode in urls:
        print(f"| {kind} | {mode} |", *(f"{least[kind, mode, loop]:,.0f} |" for loop in loops))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        asyncio.run(_serve(options.serve))
    else:
        main(options.connections, options.rounds)
