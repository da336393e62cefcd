"""One configuration for two regions: each worker takes what is its own, and no copy leaves the regions that are allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # no stubs are published with it
import pytest
import yaml
from tests.cloud_e2e.buckets import Clouds, Item, S3Bucket
from tests.cloud_e2e.conftest import Skyferry
from tests.cloud_e2e.test_events import notifying

COMMAND = ("run", "--until-idle", "--no-live", "--listen", "127.0.0.1:0", "--config", "skyferry.yaml")


def configure(queue: str, stores: dict[str, Any], routes: list[dict[str, Any]], clouds: Clouds) -> None:
    where = f"endpoint={clouds.s3}&identity=static&region=us-east-1"
    queues = [{"name": "q", "url": f"sqs://{queue}?{where}", "lease": "5s"}]
    Path("skyferry.yaml").write_text(yaml.safe_dump({"stores": stores, "routes": routes, "queues": queues}))


def test_one_configuration_serves_workers_of_two_regions(
    clouds: Clouds, skyferry: Skyferry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SKYFERRY_REGION is the difference. Without it, the service does not start."""
    source = clouds.bucket("s3")
    assert isinstance(source, S3Bucket)
    url = f"s3://{source.name}?endpoint={clouds.s3}&identity=static&service=localstack"
    stores = {
        "photos": {"url": url, "region": "us-east-1"},
        "other": {"url": "file://other", "region": "eu-west-1", "watch": False},
        "there": {"url": "file://there"},
    }
    routes = [{"name": f"from-{n}", "from": n, "to": "there", "run_in": "source"} for n in ("photos", "other")]
    configure(notifying(source, clouds), stores, routes, clouds)
    source.put("a", Item(b"a"))
    Path("skyferry-data/there").mkdir(parents=True)
    Path("skyferry-data/other").mkdir()
    skyferry(*COMMAND, code=2)  # the region of the worker is not known
    monkeypatch.setenv("SKYFERRY_REGION", "eu-west-1")
    explain = ("explain", f"s3://{source.name}/a", "--json", "--config", "skyferry.yaml")
    refused = skyferry(*explain, code=1)["routes"]
    assert {answer["rule"] for answer in refused} == {"run_in: source, which is in us-east-1"}
    monkeypatch.setenv("SKYFERRY_REGION", "us-east-1")
    taken = skyferry(*explain, code=1)["routes"]
    assert {(answer["route"], answer["to"]) for answer in taken} == {("from-photos", "there: a")}
    skyferry(*COMMAND)
    assert Path("skyferry-data/there/a").read_bytes() == b"a"


def test_a_bucket_outside_of_the_allowed_regions_is_refused(
    clouds: Clouds, skyferry: Skyferry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The configuration says one region, and the provider another: the service does not start, and nothing is written."""
    source = clouds.bucket("s3")
    assert isinstance(source, S3Bucket)
    client = boto3.Session("any", "any", region_name="us-west-2").client("s3", endpoint_url=clouds.s3)
    there = f"{source.name}-there"
    client.create_bucket(Bucket=there, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    options = f"endpoint={clouds.s3}&identity=static&service=localstack"
    stores = {
        "photos": {"url": f"s3://{source.name}?{options}", "region": "us-east-1"},
        "there": {"url": f"s3://{there}?{options}", "region": "eu-west-1"},
    }
    routes = [{"name": "r", "from": "photos", "to": "there", "allow_regions": ["eu-*"]}]
    configure(notifying(source, clouds), stores, routes, clouds)
    source.put("a", Item(b"a"))
    monkeypatch.setenv("SKYFERRY_REGION", "eu-west-1")
    error = skyferry(*COMMAND, code=2)
    assert "us-west-2" in str(error)
    assert client.list_objects_v2(Bucket=there)["KeyCount"] == 0
    checks = skyferry("doctor", "--json", "--config", "skyferry.yaml", code=1)["checks"]
    assert any("us-west-2" in check["detail"] for check in checks if check["state"] == "wrong")
