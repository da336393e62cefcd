"""What buckets tell of how they are set up."""

from __future__ import annotations

import orjson
import pytest

from skyferry.errors import BucketNotFound
from skyferry.ports.inspection import Notice, Unknown
from skyferry.stores.azure.client import AzureOptions
from skyferry.stores.azure.inspection import namespace
from skyferry.stores.gcs.client import GcsClient
from skyferry.stores.s3.client import S3Client
from skyferry.testing.servers import Azurite
from skyferry.testing.servers.azure import AzurePlace
from skyferry.testing.servers.gcs import GcsPlace
from skyferry.testing.servers.proxy import Fault
from skyferry.testing.servers.s3 import S3Place

KMS = "projects/p/locations/l/keyRings/r/cryptoKeys/k"


async def test_s3_reports_versioning_and_notifications(localstack_s3: S3Place) -> None:
    """As they were put there; EventBridge is told of as one that is not seen from here."""
    name = await localstack_s3.bucket(versioned=True)
    client = S3Client("admin", name, localstack_s3.credentials, localstack_s3.options)
    bus = b"<NotificationConfiguration><EventBridgeConfiguration/></NotificationConfiguration>"
    await client.send("PUT", query={"notification": ""}, body=bus)
    await client.close()
    store = localstack_s3.store(name)
    facts = await store.inspect()
    await store.close()
    assert (facts.versioning, facts.region, facts.wrong) == ("on", "us-east-1", ())
    assert isinstance(facts.skew, float)
    assert abs(facts.skew) < 60, "one clock, and an answer that may be slow"
    assert facts.notices == (Notice("EventBridge", direct=False, created=True, deleted=True, events=("all",)),)
    assert facts.who == "arn:aws:iam::000000000000:root"


async def test_a_service_without_these_settings_is_no_error(radosgw_s3: S3Place) -> None:
    """Ceph has no STS that names the caller, and no region."""
    store = radosgw_s3.store(await radosgw_s3.bucket())
    facts = await store.inspect()
    await store.close()
    assert isinstance(facts.who, Unknown)
    assert isinstance(facts.region, Unknown)
    assert (facts.versioning, facts.wrong, facts.notices) == ("off", (), ())


async def test_a_bucket_that_is_not_there_is_an_error(s3: S3Place, gcs: GcsPlace) -> None:
    """Whatever may be looked at."""
    for store in (s3.store("no-such-bucket-here"), gcs.store("no-such-bucket-here")):
        with pytest.raises(BucketNotFound) as caught:
            await store.inspect()
        assert caught.value.hint
        await store.close()


async def test_cloud_storage_reports_every_setting(gcs: GcsPlace) -> None:
    """Key, retention, soft delete, versioning, place; and its notifications, where no event types means all."""
    name = await gcs.bucket(versioned=True)
    client = GcsClient("admin", name, gcs.tokens, gcs.options)
    settings = {
        "location": "EUROPE-WEST1",
        "encryption": {"defaultKmsKeyName": KMS},
        "retentionPolicy": {"retentionPeriod": "86400"},
        "softDeletePolicy": {"retentionDurationSeconds": "604800"},
    }
    path, json = f"/storage/v1/b/{name}", {"content-type": "application/json"}
    await client.send("PATCH", path, headers=json, body=orjson.dumps(settings))
    topic = "projects/p/topics/t"
    for more in ({}, {"event_types": ["OBJECT_FINALIZE"], "object_name_prefix": "raw/"}):
        body = orjson.dumps({"topic": f"//pubsub.googleapis.com/{topic}", "payload_format": "JSON_API_V1", **more})
        await client.send("POST", f"{path}/notificationConfigs", headers=json, body=body)
    await client.close()
    store = gcs.store(name)
    facts = await store.inspect()
    await store.close()
    assert (facts.region, facts.encryption) == ("europe-west1", KMS)
    assert facts.versioning == "on, and deleted objects are kept for 7 days"
    large = "large objects can only be written with `large_upload_mode: resumable`"
    assert facts.kept == f"a retention policy keeps each object for 1 days; {large}"
    assert facts.allowed == frozenset({"read", "write", "delete", "list"})
    assert facts.notices == (
        Notice(topic, direct=True, created=True, deleted=True, events=("all",)),
        Notice(topic, direct=True, created=True, deleted=False, events=("OBJECT_FINALIZE",), prefix="raw/"),
    )


async def test_what_may_not_be_looked_at_is_not_known(gcs: GcsPlace) -> None:
    """By the permission that is missing."""
    store = gcs.store(await gcs.bucket())
    denied = orjson.dumps({"error": {"code": 403, "message": "no", "errors": [{"reason": "forbidden"}]}})
    for target in ("?fields=location", "notificationConfigs", "testPermissions"):
        await gcs.plan(Fault(method="GET", target=target, status=403, body=denied))
    facts = await store.inspect()
    await store.close()
    look = Unknown("not permitted (storage.buckets.get)")
    assert facts.region == facts.versioning == facts.encryption == facts.notices == look
    assert facts.allowed == Unknown("not permitted (testIamPermissions)")


async def test_azure_reports_few_settings(azurite_server: Azurite) -> None:
    """Who is notified, and where it is, its management alone knows. The account key is not shown."""
    place = AzurePlace.on(azurite_server)
    store = place.store(await place.container())
    facts = await store.inspect()
    await store.close()
    assert (facts.wrong, facts.encryption, facts.kept) == ((), "by the account's key", "")
    assert isinstance(facts.notices, Unknown)
    assert facts.versioning == Unknown("unknown while the container is empty")
    assert azurite_server.key not in repr(facts)


@pytest.mark.parametrize(
    ("told", "set_", "hint"),
    [
        ("true", False, "set the store's `hierarchical: true`"),
        ("false", True, "set the store's `hierarchical: false`"),
        ("true", True, ""),
        ("false", False, ""),
        ("", True, ""),
    ],
)
def test_azure_s_namespace_contradicts_the_settings(told: str, set_: bool, hint: str) -> None:
    """By the header of Azure's documentation: Azurite does not send it."""
    found = namespace({"x-ms-is-hns-enabled": told}, AzureOptions("https://a", hierarchical=set_))
    assert [wrong.hint for wrong in found] == [hint] * bool(hint)
