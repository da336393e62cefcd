"""What arrived, compared by rclone, which knows nothing of us."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cloud_e2e.buckets import AzureContainer, Bucket, Clouds, Folder, GcsBucket, S3Bucket
from tests.cloud_e2e.conftest import Skyferry
from tests.cloud_e2e.test_pairs import objects

RCLONE = Path(sys.executable).with_name("rclone")


def remote(bucket: Bucket) -> str:
    """As rclone names it."""
    match bucket:
        case S3Bucket():
            return f"s3:{bucket.name}"
        case AzureContainer():
            return f"azure:{bucket.client.container_name}"
        case GcsBucket():
            return f"gcs:{bucket.bucket.name}"
        case Folder():
            return str(bucket.path)
    raise AssertionError(bucket)


def settings(clouds: Clouds) -> dict[str, str]:
    """Remotes in the environment, so that nobody's configuration is read."""
    account = dict(part.split("=", 1) for part in clouds.azure_connection.strip(";").split(";"))
    s3 = {"TYPE": "s3", "PROVIDER": "Other", "ACCESS_KEY_ID": "any", "SECRET_ACCESS_KEY": "any", "ENDPOINT": clouds.s3}
    azure = {
        "TYPE": "azureblob",
        "ACCOUNT": account["AccountName"],
        "KEY": account["AccountKey"],
        "ENDPOINT": clouds.azure,
    }
    gcs = {"TYPE": "google cloud storage", "ANONYMOUS": "true", "ENDPOINT": f"{clouds.gcs}/storage/v1/"}
    known = {"S3": s3, "AZURE": azure, "GCS": gcs}
    return {f"RCLONE_CONFIG_{name}_{key}": value for name, config in known.items() for key, value in config.items()}


def check(clouds: Clouds, source: Bucket, destination: Bucket) -> str:
    """What `rclone check` says, which reads every byte at both ends. Raises CalledProcessError where they differ.

    A key that no file can have (`//`, or `/` at its end) is nothing to rclone: two of AWKWARD are left out.
    """
    command = [str(RCLONE), "check", remote(source), remote(destination), "--download", "--config", os.devnull]
    left_out = [f"--exclude={pattern}" for pattern in ("/.skyferry/**", "/double/**", "/trail/**")]
    env = {**os.environ, **settings(clouds)}
    return subprocess.run(
        [*command, *left_out], env=env, capture_output=True, text=True, timeout=300, check=True
    ).stderr


@pytest.mark.parametrize(
    ("one", "other"), [("s3", "azure"), ("azure", "file"), ("file", "s3"), ("s3", "gcs"), ("gcs", "azure")]
)
def test_rclone_finds_no_difference(clouds: Clouds, skyferry: Skyferry, one: str, other: str) -> None:
    """Every byte is read at both ends."""
    source, destination = clouds.bucket(one), clouds.bucket(other)
    for key, item in objects().items():
        if "//" not in key and not key.endswith("/"):
            source.put(key, item)
    assert skyferry("copy", source.url, destination.url, "--json")["complete"]
    said = check(clouds, source, destination)
    assert "0 differences found" in said
    assert "38 matching files" in said
