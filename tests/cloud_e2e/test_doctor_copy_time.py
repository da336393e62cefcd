"""`skyferry doctor` holds the lease against the expected time of a copy, by a sample that it reads; the rate is injected."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.cloud_e2e.buckets import Clouds, GcsBucket, Item, S3Bucket
from tests.cloud_e2e.conftest import Skyferry
from tests.cloud_e2e.doctored import EVERYTHING, NOTE, Sqs, said, states
from tests.cloud_e2e.test_events import configured, subscribed

from skyferry.clock import SystemClock
from skyferry.config.load import load
from skyferry.doctor import Check, CheckState, Scope, examine
from skyferry.doctor.copy_time import SAMPLE
from skyferry.testing.servers.pubsub import PubSubEmulator


@dataclass
class Striding(SystemClock):
    """Each look at it takes `stride` seconds, so each timed request does."""

    stride: float
    looks: int = 0

    def monotonic(self) -> float:
        self.looks += 1
        return self.looks * self.stride


async def copy_time(file: str, stride: float) -> Check:
    """What is said where reading the sample takes so many seconds."""
    found = await examine(load(Path(file), {}), Scope(write=False), Striding(stride))
    [check] = [check for check in found if check.name == "copy-time"]
    return check


@pytest.mark.usefixtures("skyferry")  # for its environment
@pytest.mark.parametrize(
    ("seconds", "state", "words"),
    [
        (0.5, CheckState.OK, "within the lease of 5 s"),
        (6, CheckState.OK, "longer than the lease of 5 s, which is renewed every 1.7 s"),
        (12 * 3600 / 2, CheckState.UNKNOWN, "can be leased for at most 12 hours"),
    ],
)
async def test_sqs(clouds: Clouds, source: S3Bucket, seconds: float, state: CheckState, words: str) -> None:
    """The visibility timeout of the configuration, and the 12 hours after which SQS gives a message to somebody else."""
    queue = Sqs(clouds, f"queue-{source.name}")
    queue.heard_by(source, *EVERYTHING)
    source.put("large", Item(b"x" * 5000))
    file = configured(source, clouds.bucket("gcs"), queue.settings)
    check = await copy_time(file, seconds)
    assert (check.where, check.state, words in check.detail) == ("events", state, True)
    assert "for large at a" in check.detail


@pytest.mark.usefixtures("skyferry")  # for its environment
async def test_more_than_was_read_is_expected_to_take_longer_in_proportion(clouds: Clouds, source: S3Bucket) -> None:
    """Of 8 MiB only the first half is read."""
    queue = Sqs(clouds, f"queue-{source.name}")
    queue.heard_by(source, *EVERYTHING)
    source.put("large", Item(bytes(2 * SAMPLE)))
    check = await copy_time(configured(source, clouds.bucket("gcs"), queue.settings), 4)
    assert "about 8 s for large" in check.detail
    assert "8.0 MiB, read at 1.0 MiB/s" in check.detail


@pytest.mark.usefixtures("skyferry")  # for its environment
@pytest.mark.parametrize(("seconds", "words"), [(0.5, "within the lease"), (86400, "about 24 hours for mine")])
async def test_pubsub(clouds: Clouds, pubsub_server: PubSubEmulator, seconds: float, words: str) -> None:
    """A subscription, where no hold is too long."""
    source = clouds.bucket("gcs")
    assert isinstance(source, GcsBucket)
    source.put("mine", NOTE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUBSUB_EMULATOR_HOST", pubsub_server.endpoint)
        _, subscription = subscribed(pubsub_server.project, source.bucket.name)
    source.bucket.notification(f"topic-{source.bucket.name}", topic_project=pubsub_server.project).create()
    url = f"pubsub://{pubsub_server.project}/{subscription}?endpoint=http://{pubsub_server.endpoint}&identity=anonymous"
    check = await copy_time(configured(source, clouds.bucket("s3"), {"name": "q", "url": url}), seconds)
    assert (check.where, check.state, words in check.detail) == ("q", CheckState.OK, True)


def test_nothing_is_expected_of_a_source_without_objects(clouds: Clouds, skyferry: Skyferry) -> None:
    """Nor of one whose events do not come by that queue; by the command line, as a program reads it."""
    source, other = clouds.bucket("s3"), clouds.bucket("s3")
    assert isinstance(source, S3Bucket)
    assert isinstance(other, S3Bucket)
    queue = Sqs(clouds, f"queue-{source.name}")
    queue.heard_by(source, *EVERYTHING)
    file = configured(source, clouds.bucket("gcs"), queue.settings)
    found = said(skyferry("doctor", "--config", file, "--json"))
    assert states(found, ("a", "read"), ("events", "copy-time")) == ["unknown", "unknown"]
    other.put("elsewhere", NOTE)
    Path(file).write_text(Path(file).read_text().replace(f"s3://{source.name}", f"s3://{other.name}"))
    found = said(skyferry("doctor", "--config", file, "--json", code=1))
    assert states(found, ("a", "read"), ("events", "copy-time")) == ["ok", "unknown"]


def test_what_is_read_takes_real_time(clouds: Clouds, skyferry: Skyferry, source: S3Bucket) -> None:
    """With the clock of the world, to which nothing here is long."""
    queue = Sqs(clouds, f"queue-{source.name}")
    queue.heard_by(source, *EVERYTHING)
    found = said(skyferry("doctor", "--config", configured(source, clouds.bucket("gcs"), queue.settings), "--json"))
    assert states(found, ("events", "copy-time")) == ["ok"]
    assert "for mine at a, the largest of the first 1,000 objects" in found["events", "copy-time"]["detail"]


def test_an_object_in_an_archive_is_not_read_and_no_fault(clouds: Clouds, skyferry: Skyferry, source: S3Bucket) -> None:
    """It may be the largest all the same."""
    source.client.put_object(Bucket=source.name, Key="old", Body=bytes(5000), StorageClass="GLACIER")
    queue = Sqs(clouds, f"queue-{source.name}")
    queue.heard_by(source, *EVERYTHING)
    found = said(skyferry("doctor", "--config", configured(source, clouds.bucket("gcs"), queue.settings), "--json"))
    assert states(found, ("a", "read"), ("events", "copy-time")) == ["unknown", "unknown"]
    assert "old" in found["a", "read"]["detail"]
