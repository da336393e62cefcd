"""A bucket that is misspelt in the configuration loses nothing."""

from __future__ import annotations

from pathlib import Path

import yaml
from tests.cloud_e2e.buckets import Clouds, Item, S3Bucket
from tests.cloud_e2e.conftest import Skyferry
from tests.cloud_e2e.test_events import notifying


def test_a_misspelt_bucket_is_named_and_its_objects_come_after_the_correction(
    clouds: Clouds, skyferry: Skyferry
) -> None:
    """Three events in the queue; status and doctor name the bucket, and a redrive copies what was meant."""
    source = clouds.bucket("s3")
    assert isinstance(source, S3Bucket)
    queue = notifying(source, clouds)
    where = f"endpoint={clouds.s3}&identity=static&region=us-east-1"

    def configured(bucket: str) -> str:
        stores = {
            "photos": {"url": f"s3://{bucket}?{where}&service=localstack"},
            "there": {"url": "file://there"},
        }
        routes = [{"name": "r", "from": "photos", "to": "there"}]
        queues = [{"name": "q", "url": f"sqs://{queue}?{where}", "lease": "5s"}]
        Path("skyferry.yaml").write_text(yaml.safe_dump({"stores": stores, "routes": routes, "queues": queues}))
        return "skyferry.yaml"

    for key in ("a", "b", "c"):
        source.put(key, Item(key.encode()))
    misspelt = configured(source.name[:-1])
    command = ("run", "--until-idle", "--no-live", "--listen", "127.0.0.1:0", "--config")
    skyferry(*command, misspelt, code=3)
    told = skyferry("status", "--json", "--config", misspelt)
    assert list(told["unrouted"].values()) == [3]
    (bucket,) = told["unrouted"]
    assert bucket.endswith(f"://{source.name}")
    checks = skyferry("doctor", "--json", "--config", misspelt, code=1)["checks"]
    (check,) = [check for check in checks if check["check"] == "unrouted"]
    assert bucket in check["detail"]
    assert "stores.photos.url" in check["hint"]
    corrected = configured(source.name)
    skyferry("dead-letters", "redrive", "--reason", "unrouted_bucket", "--json", "--config", corrected)
    skyferry(*command, corrected)
    folder = Path("skyferry-data/there")
    assert {path.name: path.read_text() for path in folder.glob("[!.]*")} == {"a": "a", "b": "b", "c": "c"}
    assert skyferry("status", "--json", "--config", corrected)["unrouted"] == {}
