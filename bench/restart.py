"""A large object between S3 and Cloud Storage, in both directions, with the process killed (`kill -9`) at 60 %.

    python -m bench.restart [--size 2GiB]

The copy to Cloud Storage is repeated as a resumable upload, into a bucket whose retention policy keeps every object. A proxy
counts the bytes sent to the destination. After the restart, only the parts in flight may be sent again. The providers' own
clients read the result and look for unfinished uploads.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cloud_e2e.buckets import GcsBucket, S3Bucket

from skyferry.config.units import parse_size
from skyferry.testing.servers import ServerMissing, gcs_fake, localstack
from skyferry.testing.servers.proxy import FaultProxy

KEY = "large.bin"
KEYS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
ROW = "{:<30} {:>8} {:>10} {:>11} {:>10} {:>9} {:>8} {:>8}"
Cloud = S3Bucket | GcsBucket


@dataclass(frozen=True, slots=True)
class Cut:
    """The parts of the object, with the defaults of limits.part_size and limits.part_concurrency."""

    part_size: int = 8 * 2**20  # bytes
    at_once: int = 4

    @property
    def environment(self) -> dict[str, str]:
        """The settings as environment variables."""
        parts = {"PART_SIZE": self.part_size, "PART_CONCURRENCY": self.at_once, "MULTIPART_THRESHOLD": 1}
        return {f"SKYFERRY_LIMITS__{name}": str(value) for name, value in parts.items()}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The figures of one restart."""

    killed_at: int  # bytes sent before
    again: int  # bytes sent more than once
    code: int  # exit code of the second run
    same: bool  # the destination has the same content
    orphans: int  # abandoned uploads or parts


def fill(path: Path, length: int) -> None:
    """Write this many bytes, each MiB different."""
    with path.open("wb") as file:
        for n in range(0, length, 2**20):
            file.write(random.Random(n).randbytes(min(2**20, length - n)))


def put(bucket: Cloud, path: Path) -> None:
    """Upload the file."""
    if isinstance(bucket, S3Bucket):
        bucket.client.upload_file(str(path), bucket.name, KEY)
    else:
        bucket.bucket.blob(KEY).upload_from_filename(str(path))


class _Digest:
    """A writable file that computes the SHA-256."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def write(self, data: Any) -> int:
        self._sha256.update(data)
        return len(data)

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


def digest(bucket: Cloud) -> str:
    """Return the SHA-256 of the object as the provider's own client reads it."""
    found = _Digest()
    if isinstance(bucket, S3Bucket):
        for chunk in bucket.client.get_object(Bucket=bucket.name, Key=KEY)["Body"].iter_chunks(2**20):
            found.write(chunk)
    else:
        bucket.bucket.blob(KEY).download_to_file(found, raw_download=True)
    return found.hexdigest()


def orphans(bucket: Cloud) -> int:
    """Return the number of abandoned uploads, or of their parts."""
    if isinstance(bucket, S3Bucket):
        return len(bucket.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", []))
    return sum(blob.name != KEY for blob in bucket.client.list_blobs(bucket.bucket))


class Restart:
    """One interrupted copy. The folder is the workspace of both processes."""

    def __init__(self, folder: Path, source: Cloud, destination: Cloud, cut: Cut) -> None:
        self._folder, self._source, self._destination, self._cut = folder, source, destination, cut

    async def run(self, server: str, path: Path) -> Outcome:
        """Copy the file, kill the process and start it again. `server` is the URL of the destination."""
        length = path.stat().st_size
        await asyncio.to_thread(put, self._source, path)
        async with FaultProxy(server) as proxy:
            process = await self._start(proxy.url, server)
            while _sent(proxy) < length * 0.6:
                assert process.returncode is None, "the process ended before it could be killed"
                await asyncio.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            await process.wait()
            killed_at = _sent(proxy)
            code = await (await self._start(proxy.url, server)).wait()
            again = _sent(proxy) - length
        arrived = await asyncio.to_thread(digest, self._destination)
        wanted = await asyncio.to_thread(_digest_of, path)
        return Outcome(killed_at, again, code, arrived == wanted, orphans(self._destination))

    async def _start(self, proxy: str, server: str) -> asyncio.subprocess.Process:
        """Start `skyferry copy` with its ledger in the folder."""
        one = self._source.url.replace("/?", f"/{KEY}?", 1)
        two = self._destination.url.replace(server, proxy).replace("/?", f"/{KEY}?", 1)
        command = (sys.executable, "-m", "skyferry", "copy", one, two, "--json")
        env = os.environ | KEYS | self._cut.environment
        with (self._folder / "log").open("ab") as log:
            return await asyncio.create_subprocess_exec(*command, cwd=self._folder, env=env, stdout=log, stderr=log)


def _sent(proxy: FaultProxy) -> int:
    """Return the bytes of all request bodies."""
    return sum(exchange.received for exchange in proxy.exchanges)


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def measure(name: str, source: Cloud, destination: Cloud, server: str, length: int) -> None:
    """Measure one direction and print a row."""
    began, cut = time.perf_counter(), Cut()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "content")
        fill(path, length)
        seen = await Restart(Path(folder), source, destination, cut).run(server, path)
    mib = (f"{count / 2**20:,.0f}" for count in (length, seen.killed_at, seen.again))
    same = "yes" if seen.same else "NO"
    print(ROW.format(name, *mib, seen.code, same, seen.orphans, f"{time.perf_counter() - began:.0f}"), flush=True)
    assert (seen.code, seen.same, seen.orphans) == (0, True, 0)
    assert seen.again <= cut.part_size * cut.at_once + 2**20, "more than the parts in flight was sent again"


async def main(length: int) -> None:
    """Print the table."""
    print(ROW.format("", "MiB", "killed at", "sent again", "exit code", "the same", "orphans", "seconds"))
    with localstack(("s3",)) as s3, gcs_fake() as gcs:
        await measure("S3 to Cloud Storage", S3Bucket(s3.url), GcsBucket(gcs.url), gcs.url, length)
        kept = GcsBucket(gcs.url)
        kept.keep(86400)
        await measure("S3 to Cloud Storage, resumable", S3Bucket(s3.url), kept, gcs.url, length)
        await measure("Cloud Storage to S3", GcsBucket(gcs.url), S3Bucket(s3.url), s3.url, length)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=parse_size, default=2 * 2**30)
    try:
        asyncio.run(main(parser.parse_args().size))
    except ServerMissing as missing:
        print(missing)
