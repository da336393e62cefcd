"""The clouds of these tests, and the command line in this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.cloud_e2e.buckets import Clouds, Item, S3Bucket

from skyferry.cli import main
from skyferry.testing.servers import Azurite, GcsFake, LocalStack

Skyferry = Callable[..., Any]


@pytest.fixture(scope="session")
def clouds(
    tmp_path_factory: pytest.TempPathFactory,
    localstack_server: LocalStack,
    gcs_server: GcsFake,
    azurite_server: Azurite,
) -> Clouds:
    """One server of each kind."""
    folder = tmp_path_factory.mktemp("folders")
    azure = azurite_server
    return Clouds(folder, localstack_server.url, gcs_server.url, azure.blob_url, azure.connection_string)


@pytest.fixture
def skyferry(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clouds: Clouds
) -> Skyferry:
    """Runs a command in an empty folder; what it prints as JSON, or its exit code."""
    monkeypatch.chdir(tmp_path)
    key = dict(part.split("=", 1) for part in clouds.azure_connection.strip(";").split(";"))["AccountKey"]
    known = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AZURE_STORAGE_KEY": key}
    for name in [n for n in os.environ if n.startswith("SKYFERRY_") and n != "SKYFERRY_SERVERS"]:
        monkeypatch.delenv(name)
    for name, value in known.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str, code: int = 0) -> Any:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = capsys.readouterr()
        assert int(ended.value.code or 0) == code, said.err + said.out
        return orjson.loads(said.out) if "--json" in arguments else said

    return run


@pytest.fixture
def source(clouds: Clouds) -> S3Bucket:
    """With an object."""
    bucket = clouds.bucket("s3")
    assert isinstance(bucket, S3Bucket)
    bucket.put("mine", Item(b"x" * 1000))
    return bucket
