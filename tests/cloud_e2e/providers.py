"""Print the table of docs/reference/providers/index.md from the output of `skyferry conformance` on each server.

    python -m tests.cloud_e2e.providers

It takes a few minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # no stubs are published with it
from tests.cloud_e2e.buckets import Clouds

from skyferry.testing.servers import azurite, gcs_fake, localstack, radosgw
from skyferry.testing.store_cases import Result

HEAD = """\
| provider, server | preconditions | checksums | copies by itself | resumes after a crash | one request | parts | metadata |
|---|---|---|---|---|---|---|---|"""


def buckets(folder: Path) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Name, URL and environment of a bucket at each."""
    with ExitStack() as stack:
        s3, ceph = stack.enter_context(localstack()), stack.enter_context(radosgw())
        gcs, azure = stack.enter_context(gcs_fake()), stack.enter_context(azurite())
        clouds = Clouds(folder, s3.url, gcs.url, azure.blob_url, azure.connection_string)
        key = dict(part.split("=", 1) for part in azure.connection_string.strip(";").split(";"))["AccountKey"]
        known = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AZURE_STORAGE_KEY": key}
        yield "local folder", clouds.bucket("file").url, known
        yield "S3, LocalStack 4.12", clouds.bucket("s3").url, known
        keys = {"AWS_ACCESS_KEY_ID": ceph.access_key, "AWS_SECRET_ACCESS_KEY": ceph.secret_key}
        made = signed_bucket(ceph.url, keys)
        yield "S3, Ceph 16", f"s3://{made}/?endpoint={ceph.url}&service=ceph&identity=static", keys
        yield "Cloud Storage, the fake", clouds.bucket("gcs").url, known
        yield "Cloud Storage, the fake, resumable", f"{clouds.bucket('gcs').url}&large_upload_mode=resumable", known
        yield "Azure Blob, Azurite 3.37", clouds.bucket("azure").url, known


def signed_bucket(endpoint: str, keys: dict[str, str]) -> str:
    """A bucket that needs a signature."""
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket="providers")
    return "providers"


def printed(url: str, environment: dict[str, str]) -> dict[str, Any]:
    """What `skyferry conformance` says."""
    command = [sys.executable, "-m", "skyferry", "conformance", url, "--json"]
    done = subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, check=False)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def row(name: str, said: dict[str, Any]) -> str:
    """Of the table."""
    t = said["traits"]
    conditions = {
        "create": "create_only",
        "replace": "replace_exact",
        "delete": "delete_exact",
        "finish": "finish_exact",
    }
    holds = ", ".join(word for word, trait in conditions.items() if t[trait]) or "none"
    copies = ", ".join(t["copy_checksums"]) or "no"
    parts = f"{binary(t['min_part'])} to {binary(t['max_part'])}, {t['max_parts']:,}"
    cells = [name, holds, ", ".join(t["checksums_returned"]), copies, "yes" if t["resumable"] else "no"]
    return "| " + " | ".join([*cells, binary(t["single_put_limit"]), parts, binary(t["metadata_limit"])]) + " |"


def binary(count: int) -> str:
    """Bytes, for people."""
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= 2**50:
            return "no limit"
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"


def notes(name: str, said: dict[str, Any]) -> list[str]:
    """What is not true there, and what it cannot carry."""
    results = said["results"]
    count = {kind: sum(r["outcome"] == kind for r in results) for kind in ("passed", "failed", "skipped")}
    lines = [
        f"**{name}**: {count['passed']} statements true, {count['failed']} not, {count['skipped']} do not apply.",
        "",
    ]
    lines += [f"- cannot carry: {what}" for what in said["traits"]["lossy"]]
    untrue = [Result(**r) for r in results if r["outcome"] == "failed"]
    lines += [f"- not true: {each.subject}. {each.claim.splitlines()[0]}" for each in untrue]
    return [*lines, ""]


def main() -> None:
    """Print it."""
    rows, below = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, url, environment in buckets(Path(folder)):
            said = printed(url, environment)
            rows.append(row(name, said))
            below += notes(name, said)
    print("\n".join([HEAD, *rows, "", *below]).rstrip())


if __name__ == "__main__":
    main()
