"""The policies for AWS against what the service really asks S3, SQS and KMS (LocalStack) for: nothing missing, nothing spare."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from tests.policy.amazon import Amazon, held, story
from tests.policy.granted import missing, of_aws, spare
from tests.policy.lab import settings

from skyferry.clouds.credentials import fixed_credentials
from skyferry.model import Attributes, Checksums
from skyferry.policy import aws as policy
from skyferry.policy.needs import required_access
from skyferry.stores.gcs.client import GcsOptions
from skyferry.stores.local.store import LocalStore
from skyferry.testing.permissions import UnknownRequest
from skyferry.testing.permissions.aws import list_asks
from skyferry.testing.servers import GcsFake, LocalStack
from skyferry.testing.servers.gcs import GcsPlace
from skyferry.testing.servers.proxy import Exchange, FaultProxy

ROUTE = {"name": "r", "from": "a", "to": "b", "key": "out/{key}", "filter": {"prefix": "in/"}}


@pytest.fixture
def amazon(localstack_server: LocalStack, aws: FaultProxy) -> Amazon:
    return Amazon(localstack_server, aws)


def between(amazon: Amazon, reader: str, writer: str, **route: Any) -> dict[str, Any]:
    """A route from one bucket to the other."""
    return {
        "stores": {"a": amazon.store(amazon.source, reader), "b": amazon.store(amazon.there, writer)},
        "routes": [{**ROUTE, **route}],
        "queues": [amazon.events(reader)],
    }


async def test_two_identities_tags_and_versions(amazon: Amazon, tmp_path: Path) -> None:
    """One reads and takes events, one writes; buckets without versions, and then with them."""
    configured = settings(tmp_path, between(amazon, "READER", "WRITER", deletes="propagate"))
    await story(amazon, configured, "color=red")
    amazon.keep_versions()
    await story(amazon, configured, "color=red", prefix="in/v/")
    held(amazon, configured)


async def test_copies_that_s3_makes_by_itself(amazon: Amazon, tmp_path: Path) -> None:
    """One identity does all; each object is deleted at its source once it is copied."""
    configured = settings(tmp_path, between(amazon, "READER", "READER", after_copy="delete"))
    await story(amazon, configured, "color=red")
    amazon.keep_versions()
    await story(amazon, configured, "color=red", prefix="in/v/")
    assert any("x-amz-copy-source" in each.headers for each in amazon.proxy.exchanges)
    held(amazon, configured)


async def test_small_objects_need_no_uploads(amazon: Amazon, tmp_path: Path) -> None:
    """Where the route takes no larger ones than go into one request."""
    small = {"prefix": "in/", "max_size": "5MiB"}
    configured = settings(tmp_path, between(amazon, "READER", "WRITER", filter=small))
    await story(amazon, configured, "color=red", large=False)
    amazon.keep_versions()
    await story(amazon, configured, "color=red", large=False, prefix="in/v/")
    held(amazon, configured)


async def test_keys_of_kms(amazon: Amazon, tmp_path: Path) -> None:
    """The source's to decrypt with, the destination's to encrypt with and to attest."""
    first, second = (f"arn:aws:kms:us-east-1:000000000000:key/{uuid.uuid4()}" for _ in range(2))
    amazon.encrypt(first)
    document = between(amazon, "READER", "WRITER")
    document["stores"]["a"] |= {"kms_key": first}
    document["stores"]["b"] |= {"kms_key": second, "encryption": "aws:kms"}
    configured = settings(tmp_path, document)
    await story(amazon, configured, "color=red")
    amazon.keep_versions()
    await story(amazon, configured, "color=red", prefix="in/v/")
    held(amazon, configured)


async def test_what_can_have_no_tags_needs_none(
    amazon: Amazon, google: FaultProxy, gcs_server: GcsFake, tmp_path: Path
) -> None:
    """From Cloud Storage, which has none, to buckets of S3 with versions."""
    place = GcsPlace(GcsOptions(gcs_server.url), fixed_credentials(""))
    bucket = await place.bucket()
    stores = {
        "a": {"url": f"gs://{bucket}?endpoint={google.url}&identity=anonymous"},
        "b": amazon.store(amazon.there, "WRITER"),
    }
    amazon.keep_versions()
    configured = settings(tmp_path, {**between(amazon, "READER", "WRITER"), "stores": stores})
    store = place.store(bucket)

    async def put(key: str, body: bytes = b"x" * 1000, **_: Any) -> None:
        await store.write(key, body, Attributes(), Checksums())

    await story(amazon, configured, put=put)
    await store.close()
    held(amazon, configured)


async def test_a_watched_folder_sends_to_the_first_queue(amazon: Amazon, tmp_path: Path) -> None:
    """What is found there is put into it, so that it must be allowed."""
    small = {"prefix": "in/", "max_size": "5MiB"}
    document = between(amazon, "READER", "READER", tags={"color": "red"}, filter=small)
    document["stores"]["a"] = {"url": f"file://{tmp_path}/in"}
    configured = settings(tmp_path, document)
    (tmp_path / "in").mkdir()
    folder = LocalStore("a", tmp_path / "in")

    async def put(key: str, body: bytes = b"x" * 1000, **_: Any) -> None:
        await folder.write(key, body, Attributes(), Checksums())

    await story(amazon, configured, "color=red", large=False, put=put)
    amazon.keep_versions()
    await story(amazon, configured, "color=red", large=False, prefix="in/v/", put=put)
    await folder.close()
    assert "sqs:SendMessage" in {ask.action for ask in amazon.asked("READER")}
    held(amazon, configured)


async def test_each_action_left_out_is_missed(amazon: Amazon, tmp_path: Path) -> None:
    """That is, these tests can fail: for every single action that is asked for."""
    configured = settings(tmp_path, between(amazon, "READER", "READER"))
    await story(amazon, configured, "color=red")
    [each] = policy.policies(required_access(configured))
    asked = amazon.asked("READER")
    actions = {ask.action for ask in asked}
    assert len(actions) > 12
    for action in actions:
        assert {ask.action for ask in missing([g for g in of_aws(each) if g.action != action], asked)} == {action}
    assert ("s3:GetObjectVersion", f"arn:aws:s3:::{amazon.source}/in/*") in spare(
        of_aws(each), asked
    )  # it has no versions


def test_a_request_that_is_not_recorded_is_no_permission() -> None:
    """It is an error, which asks for a line in the table."""
    with pytest.raises(UnknownRequest, match="acl"):
        list(list_asks(Exchange("GET", "/bucket/key?acl=")))
