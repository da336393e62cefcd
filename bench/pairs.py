"""500 objects of 0 bytes to 64 MiB between every ordered pair of folder, S3, Cloud Storage and Azure, verified afterwards.

    python -m bench.pairs [--objects N] [--largest BYTES]

The servers are those of the tests (LocalStack, Skyferry's fake of Cloud Storage, Azurite) on this machine. They limit the
rates, which compare pairs, not providers. The copies are read by the providers' own clients and compared by `rclone check`,
except for two keys that it cannot name. A difference ends the run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

from tests.cloud_e2e.buckets import Bucket, Clouds, Item
from tests.cloud_e2e.test_pairs import AWKWARD, KINDS, noise
from tests.cloud_e2e.test_rclone import check

from skyferry.testing.servers import azurite, gcs_fake, localstack

ROW = "{:<8} {:<8} {:>8} {:>10} {:>9} {:>9}"


def objects(count: int, largest: int) -> dict[str, Item]:
    """Make the objects. Four fifths have at most 64 KiB; the rest grow to `largest`, and the last few have most bytes."""
    keys = [*AWKWARD, *(f"plain/{n:03}.bin" for n in range(count - len(AWKWARD)))]
    small, small_to = count * 4 // 5, 2**16
    sizes = [0, *(round(small_to ** (n / small)) for n in range(1, small))]
    sizes += [
        round(small_to * (largest / small_to) ** ((n / (count - small)) ** 4)) for n in range(1, count - small + 1)
    ]
    return {
        key: Item(noise(key, size), "text/x-awkward", {"n": str(n)})
        for n, (key, size) in enumerate(zip(keys, sizes, strict=True))
    }


def copy(one: Bucket, other: Bucket, folder: str) -> float:
    """Copy a bucket and return the seconds. Raises CalledProcessError if the command fails."""
    began = time.monotonic()
    command = [str(Path(sys.executable).with_name("skyferry")), "copy", one.url, other.url, "--json"]
    output = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE).stdout
    assert json.loads(output)["complete"]
    return time.monotonic() - began


def differences(arrived: dict[str, Item], wanted: dict[str, Item], carried: bool) -> list[str]:
    """Return the keys of objects that are missing, differ or were not wanted."""
    found = [key for key in wanted if key not in arrived or digest(arrived[key]) != digest(wanted[key])]
    if carried:
        found += [key for key in wanted if arrived[key].metadata != wanted[key].metadata]
    return found + sorted(arrived.keys() - wanted.keys())


def digest(item: Item) -> bytes:
    return hashlib.sha256(item.data).digest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=500)
    parser.add_argument("--largest", type=int, default=64 * 2**20)
    given = parser.parse_args()
    wanted = objects(given.objects, given.largest)
    size = sum(len(item.data) for item in wanted.values())
    print(ROW.format("from", "to", "objects", "MiB", "seconds", "MiB/s"))
    with localstack() as s3, gcs_fake() as gcs, azurite() as azure, tempfile.TemporaryDirectory() as folder:
        os.environ |= {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AZURE_STORAGE_KEY": azure.key}
        clouds = Clouds(Path(folder), s3.url, gcs.url, azure.blob_url, azure.connection_string)
        sources = {kind: clouds.bucket(kind) for kind in KINDS}
        for source in sources.values():
            for key, item in wanted.items():
                source.put(key, item)
        for one, other in product(KINDS, KINDS):
            there = clouds.bucket(other)
            seconds = copy(sources[one], there, folder)
            wrong = differences(there.items(), wanted, sources[one].carries and there.carries)
            assert not wrong, f"{one} to {other}: {wrong[:5]}"
            said = check(clouds, sources[one], there)
            assert f" {len(wanted) - 2} matching files" in said, said
            mib = size / 2**20
            print(
                ROW.format(one, other, len(wanted), f"{mib:.0f}", f"{seconds:.1f}", f"{mib / seconds:.0f}"), flush=True
            )


if __name__ == "__main__":
    main()
