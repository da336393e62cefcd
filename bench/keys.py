"""CPU per key and RSS of listings of 100,000 and 1,000,000 keys: `ls`, and a `copy` that finds every key there.

    python -m bench.keys [--keys 1000000] [--kinds s3 local]

The S3 server generates the pages of 1,000 keys when they are requested, in another process, so it needs no disk. The folders
have all files in one directory. Each command runs with a tenth of the keys, then with all. CPU per key is the difference of
both, so the start is not in it; `copy` lists two sides for each key. Flat memory shows as the same RSS in both columns. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from bench._tools import KEY, SECRET, run, serve_in_process

PAGE = 1000
TITLES = {"s3": "S3", "local": "folder"}
ENTRY = (
    "<Contents><Key>{0}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
    "<ETag>&quot;0123456789abcdef0123456789abcdef&quot;</ETag><Size>4096</Size><StorageClass>STANDARD</StorageClass></Contents>"
)
HEAD = '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'


def make_page(query: dict[str, list[str]], keys: int) -> bytes:
    """Return a page of a listing. Keys are numbers of eight digits in folders of a thousand."""
    prefix = query.get("prefix", [""])[0]
    first = int(query.get("continuation-token", ["0"])[0])
    last = min(first + int(query.get("max-keys", [str(PAGE)])[0]), keys)
    entries = "".join(ENTRY.format(f"{prefix}{n // 1000:05}/{n:08}.bin") for n in range(first, last))
    token = f"<NextContinuationToken>{last}</NextContinuationToken>" if last < keys else ""
    more = "true" if last < keys else "false"
    text = (
        f"{HEAD}<IsTruncated>{more}</IsTruncated><KeyCount>{last - first}</KeyCount>{token}{entries}</ListBucketResult>"
    )
    return text.encode()


async def answer_requests(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of a connection. A bucket's name ends in its number of keys."""
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            break
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        url = urlsplit(target)
        query, path = parse_qs(url.query), url.path.strip("/")
        status, body = "200 OK", b""
        if "list-type" in query:
            body = make_page(query, int(path.partition("-")[2]))
        elif "location" in query:
            body = b'<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">us-east-1</LocationConstraint>'
        elif "/" in path or query:
            status, body = "404 Not Found", b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>"
        kind = "Content-Type: application/xml\r\n" if body else ""
        writer.write(f"HTTP/1.1 {status}\r\n{kind}Content-Length: {len(body)}\r\n\r\n".encode())
        writer.write(b"" if method == "HEAD" else body)
        await writer.drain()
    writer.close()


async def serve_pages() -> None:
    """Serve buckets of generated keys, and print the port."""
    server = await asyncio.start_server(answer_requests, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def run_server() -> Iterator[str]:
    """Run the server in a process, and yield its endpoint."""
    with serve_in_process("bench.keys") as port:
        yield f"http://127.0.0.1:{port}"


def fill(folder: Path, keys: int) -> None:
    """Make empty files with numbers of eight digits, in one directory: listings sort each directory."""
    folder.mkdir(parents=True)
    for n in range(keys):
        os.close(os.open(folder / f"{n:08}.bin", os.O_WRONLY | os.O_CREAT))


def main(keys: int, kinds: Sequence[str]) -> None:
    """Print the table."""
    few, more = keys // 10, keys - keys // 10
    print(f"| | RSS at {few:,}, MiB | RSS at {keys:,}, MiB | CPU, µs/key | keys/s |\n|---|---|---|---|---|")
    with run_server() as endpoint, tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name).absolute()
        environ = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "NO_PROXY": "*", "HOME": name}
        environ["XDG_STATE_HOME"] = str(folder / "state")
        program = [sys.executable, "-m", "skyferry"]

        def locate(kind: str, side: str, count: int) -> str:
            s3 = f"s3://{side}-{count}/?endpoint={endpoint}&identity=static"
            return s3 if kind == "s3" else f"{folder}/{side}-{count}/"

        def list_keys(kind: str, count: int) -> list[str]:
            return [*program, "ls", locate(kind, "src", count)]

        def compare_keys(kind: str, count: int) -> list[str]:
            ends = (locate(kind, "src", count), locate(kind, "dst", count))
            return [*program, "copy", *ends, "--workspace", str(folder / f"{kind}-{count}"), "--ignore-existing"]

        for kind in kinds:
            for side, count in product(("src", "dst"), (few, keys) if kind == "local" else ()):
                fill(folder / f"{side}-{count}", count)
            for title, command in {"ls": list_keys, "copy --ignore-existing": compare_keys}.items():
                small, large = run(command(kind, few), environ), run(command(kind, keys), environ)
                each, rate = 1e6 * (large.cpu - small.cpu) / more, more / (large.seconds - small.seconds)
                sizes = f"{small.peak / 2**20:.0f} | {large.peak / 2**20:.0f}"
                print(f"| `{title}`, {TITLES[kind]} | {sizes} | {each:.1f} | {rate:,.0f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--kinds", nargs="+", choices=TITLES, default=list(TITLES))
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve_pages())
    else:
        main(given.keys, given.kinds)
