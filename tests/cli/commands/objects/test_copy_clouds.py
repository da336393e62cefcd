"""The output of a first `skyferry copy` from and to a bucket, and the folders that it leaves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3  # type: ignore[import-untyped]  # no stubs are published with it
import pytest

from skyferry.testing.servers.localstack import LocalStack

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

pytestmark = pytest.mark.filterwarnings("default::skyferry.clouds.identity.policy.LongLivedKeyWarning")
KEY = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}


@pytest.fixture
def client(localstack_server: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client with a new bucket `first-copy`, which the environment gives to commands as well."""
    for name, value in KEY.items():
        monkeypatch.setenv(name.upper(), value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", localstack_server.url)
    client = boto3.client("s3", endpoint_url=localstack_server.url, region_name="us-east-1", **KEY)
    client.create_bucket(Bucket="first-copy")
    client.put_object(Bucket="first-copy", Key="plain/a", Body=b"a")
    client.put_object(Bucket="first-copy", Key="tagged/a", Body=b"a", Tagging="color=red")
    yield client
    client.close()


def test_a_copy_that_loses_nothing_names_no_limits_of_the_destination(cli: Cli, client: Any) -> None:
    """Limits such as "a key and one below it" read like a failure. -v names them."""
    down = cli("copy", "s3://first-copy/plain/", "in")
    assert (down.code, "cannot store" in down.err, Path("in/a").read_bytes()) == (0, False, b"a")
    up = cli("copy", "in", "s3://first-copy/up/")
    assert (up.code, "cannot store" in up.err) == (0, False)
    assert "the destination cannot store: file permissions" in cli("copy", "-v", "in", "s3://first-copy/up/").err


def test_a_copy_names_what_an_object_lost(cli: Cli, client: Any) -> None:
    untagged = f"s3://first-copy/untagged/?service=r2&endpoint={os.environ['AWS_ENDPOINT_URL']}"
    lost = cli("copy", "s3://first-copy/tagged/", untagged, "--retry-for", "20s")
    assert (lost.code, "the destination cannot store: tags\n" in lost.err) == (0, True)


@pytest.mark.parametrize("source", ["s3://first-copy/absent/", "s3://absent-bucket/a/"])
def test_a_folder_in_which_nothing_arrived_is_not_left_behind(cli: Cli, client: Any, source: str) -> None:
    cli("copy", source, "made/for/it")
    assert not Path("made").exists()
    Path("mine").mkdir()
    cli("copy", source, "mine/made")
    assert os.listdir("mine") == []
