"""Peak memory of 1 and of 16 large objects at a time, S3 to Azure, compared with rclone.

    python -m bench.memory [--size 256MiB] [--objects 16]

Skyferry is `skyferry copy` with `limits.large_transfers` 16 and default limits otherwise. rclone has the same number of
transfers, the same part size and the same number of parts at a time; in a second run, also the same budget for its buffers.
"idle" is the peak of the same command with one object of one byte: interpreter, SDKs, connections. The servers (LocalStack,
Azurite) run on this machine. Linux only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench._tools import read_peak
from bench.restart import fill
from tests.cloud_e2e.buckets import AzureContainer, Clouds, Item, S3Bucket
from tests.cloud_e2e.test_rclone import RCLONE, remote, settings

from skyferry.config.settings import LimitSettings
from skyferry.config.units import parse_size
from skyferry.testing.servers import ServerMissing, azurite, localstack

LIMITS = LimitSettings()
ROW = "{:<34} {:>8} {:>10} {:>10} {:>11} {:>11} {:>9}"


@dataclass(frozen=True, slots=True)
class Run:
    """Memory and time of one process."""

    peak: int  # bytes resident
    seconds: float


@dataclass(frozen=True, slots=True)
class Tool:
    """A command that copies the objects below a prefix."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    budget: int  # bytes; 0 = none

    def run(self, one: str, other: str) -> Run:
        """Copy from one to the other. Raises CalledProcessError if the command fails."""
        began, peak, command = time.perf_counter(), 0, [*self.command, one, other]
        with (
            tempfile.TemporaryDirectory() as folder,
            subprocess.Popen(
                command, cwd=folder, env=os.environ | self.environment, stdout=subprocess.DEVNULL
            ) as process,
        ):
            while process.poll() is None:
                peak = max(peak, read_peak(process.pid))
                time.sleep(0.02)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        return Run(peak, time.perf_counter() - began)


def skyferry(at_once: int) -> Tool:
    """Return `skyferry copy` with this number of transfers."""
    environment = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    environment["SKYFERRY_LIMITS__LARGE_TRANSFERS"] = str(at_once)
    return Tool("skyferry", (sys.executable, "-m", "skyferry", "copy", "--json"), environment, LIMITS.memory)


def rclone(clouds: Clouds, at_once: int, budget: int) -> Tool:
    """Return rclone with parts and concurrency like Skyferry's."""
    part, parts = f"{LIMITS.part_size}B", LIMITS.part_concurrency
    cut = [f"--multi-thread-cutoff={part}", f"--multi-thread-chunk-size={part}", f"--azureblob-chunk-size={part}"]
    cut += [f"--multi-thread-streams={parts}", f"--azureblob-upload-concurrency={parts}", f"--transfers={at_once}"]
    name = "rclone, its buffers limited" if budget else "rclone"
    cut += [f"--max-buffer-memory={budget}B"] if budget else []
    return Tool(name, (str(RCLONE), "copy", f"--config={os.devnull}", *cut), settings(clouds), budget)


class Pair:
    """A bucket of objects, copied to a new container each time."""

    def __init__(self, clouds: Clouds, source: S3Bucket, length: int) -> None:
        self._clouds, self._source, self._length = clouds, source, length

    def run(self, tool: Tool, count: int) -> Run:
        """Copy this many large objects; 0 copies a small one."""
        there = AzureContainer(self._clouds.azure_connection, self._clouds.azure)
        if tool.name == "skyferry":
            run = tool.run(self._source.url.replace("/?", f"/{count}/?", 1), there.url)
        else:
            run = tool.run(f"{remote(self._source)}/{count}", remote(there))
        arrived = [blob.size for blob in there.client.list_blobs() if blob.name.endswith(".bin")]
        assert arrived == [self._length] * count, arrived
        there.client.delete_container()
        return run


def measure(pair: Pair, tools: Sequence[Tool], counts: Sequence[int]) -> None:
    """Measure each tool with each number of objects, and print the rows."""
    for tool in tools:
        idle = pair.run(tool, 0).peak
        for count in counts:
            run = pair.run(tool, count)
            figures = [f"{each / 2**20:,.0f}" for each in (idle, run.peak, run.peak - idle)]
            budget = f"{tool.budget / 2**20:,.0f}" if tool.budget else "none"
            print(ROW.format(tool.name, count, *figures, budget, f"{run.seconds:.0f}"), flush=True)


def main(length: int, most: int) -> None:
    """Print the table."""
    print(f"objects of {length / 2**20:g} MiB; MiB of memory")
    print(ROW.format("", "at once", "idle", "peak", "above idle", "budget", "seconds"))
    with localstack(("s3",)) as s3, azurite() as azure, tempfile.TemporaryDirectory() as folder:
        os.environ["AZURE_STORAGE_KEY"] = azure.key
        clouds = Clouds(Path(folder), s3.url, "", azure.blob_url, azure.connection_string)
        source, path = S3Bucket(s3.url), Path(folder, "content")
        fill(path, length)
        source.put("0/small", Item(b"1"))
        for key in ["1/0.bin", *(f"{most}/{n}.bin" for n in range(most))]:
            source.client.upload_file(str(path), source.name, key)
        tools = skyferry(most), rclone(clouds, most, 0), rclone(clouds, most, LIMITS.memory)
        measure(Pair(clouds, source, length), tools, (1, most))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=parse_size, default=256 * 2**20)
    parser.add_argument("--objects", type=int, default=16)
    given = parser.parse_args()
    try:
        main(given.size, given.objects)
    except ServerMissing as missing:
        print(missing)
