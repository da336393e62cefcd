"""Every file of the corpus is read or refused, according to its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyferry.errors import EventError
from skyferry.events.detect import parse_message

CORPUS = Path(__file__).parent / "corpus"
VALID = sorted((CORPUS / "valid").iterdir())
MALFORMED = sorted((CORPUS / "malformed").iterdir())

# Valid files: format, change and key of each event; otherwise "test" or the ignored names.
READ = {
    "azure-create-file.json": ["BlobCreated:CreateFile"],
    "azure-created-base64.txt": ["azure created dir/new+file %41.txt"],
    "azure-created-single.json": ["azure created dir/new+file %41.txt"],
    "azure-created.json": ["azure created dir/new+file %41.txt"],
    "azure-deleted.json": ["azure deleted dir/new+file %41.txt"],
    "azure-flush-with-close.json": ["azure created dir/new+file %41.txt"],
    "azure-renamed.json": ["azure deleted old %41.txt", "azure created new name.txt"],
    "azure-mixed-array.json": ["azure created dir/new+file %41.txt"],
    "azure-renamed-without-source.json": ["azure created new name.txt", "BlobRenamed:no sourceUrl"],
    "azure-sftp-commit.json": ["azure created dir/new+file %41.txt"],
    "azure-sftp-write.json": ["BlobCreated:SftpWrite"],
    "azure-subject-without-slash.json": ["azure created dir/new+file %41.txt"],
    "azure-tier.json": ["BlobTierChanged"],
    "b2-several.json": [
        "b2 deleted a+b %41.txt",
        "b2 deleted objectName.txt",
        "MultipartUploadCreated:LiveRead",
        "test",
    ],
    "b2-upload.json": ["b2 created objectName.txt"],
    "ceph-put.json": ["s3 created a+b %41.jpg"],
    "cloudevents-created.json": ["cloudevents created dir/new+file %41.txt"],
    "cloudevents-several.json": [
        "cloudevents created dir/new+file %41.txt",
        "cloudevents deleted dir/new+file %41.txt",
    ],
    "eventbridge-created.json": ["eventbridge created a+b/2021-10-31T23:08:57.txt"],
    "eventbridge-expired.json": ["eventbridge deleted a+b/2021-10-31T23:08:57.txt"],
    "eventbridge-retention.json": ["Object Retention Updated"],
    "eventarc-finalized.json": ["eventarc created folder/a+b %41.txt"],
    "eventbridge-tags.json": ["eventbridge created a+b/2021-10-31T23:08:57.txt"],
    "gcs-archive.json": ["gcs deleted bar/a+b%41.txt"],
    "gcs-delete-overwritten.json": ["gcs deleted bar/a+b%41.txt"],
    "gcs-delete.json": ["gcs deleted bar/a+b%41.txt"],
    "gcs-finalize-attributes-only.json": ["gcs created bar/a+b%41.txt"],
    "gcs-finalize.json": ["gcs created bar/a+b%41.txt"],
    "gcs-initialize.json": ["OBJECT_INITIALIZE"],
    "gcs-metadata-update-attributes-only.json": ["gcs created bar/a+b%41.txt"],
    "gcs-metadata-update.json": ["gcs created bar/a+b%41.txt"],
    "localstack-put.json": ["s3 created with space"],
    "minio-redis-access.json": ["s3 created photos/hello world.jpg"],
    "minio-put.json": ["s3 created photos/hello world.jpg"],
    "minio-user-metadata-schema-version.json": ["s3 created photos/hello world.jpg"],
    "native-deleted.json": ["native deleted x"],
    "native-full.json": ["native created 2026/ü.jpg"],
    "native-in-sns.json": ["native created x"],
    "native-later-minor.json": ["native created x"],
    "native-minimal.json": ["native created x"],
    "native-pushed.json": ["native created x"],
    "noobaa-put.json": ["s3 created dir/a+b 100%.txt"],
    "noobaa-test.json": ["test"],
    "objectscale-failed-replication.json": ["Replication:ObjectFailedReplication"],
    "r2-copy.json": ["r2 created my-new-object"],
    "r2-delete.json": ["r2 deleted a+b %41.txt"],
    "scality-put.json": ["s3 created toto/a+b"],
    "s3-acl.json": ["ObjectAcl:Put"],
    "s3-delete-marker.json": ["s3 deleted red flower.jpg"],
    "s3-key-not-utf8.json": ["s3 created %ff%fe"],
    "s3-lifecycle-expiry.json": ["s3 deleted expiration/delete"],
    "s3-minor-unseen.json": ["s3 created red flower.jpg"],
    "s3-put.json": ["s3 created red flower.jpg"],
    "s3-several.json": ["s3 created one", "s3 deleted three", "ObjectAcl:Put"],
    "s3-one-bad-of-two.json": ["s3 created red flower.jpg"],
    "s3-tagging.json": ["s3 created red flower.jpg"],
    "s3-test.json": ["test"],
    "s3-unversioned.json": ["s3 created a+b c/ü.txt"],
    "sns-s3-put.json": ["s3 created red flower.jpg"],
    "sns-s3-test.json": ["test"],
    "tigris.json": ["tigris created path/to/myfile.txt", "tigris deleted path/to/anotherfile.jpg"],
    "wasabi-put-in-sns.json": ["s3 created red flower.jpg"],
}

# Malformed files: the kind of the error, and the field that it names.
REFUSED = {
    "azure-directory-deleted.json": ("event_error", "[0].eventType"),
    "azure-directory-renamed.json": ("event_error", "[0].eventType"),
    "azure-no-data.json": ("event_error", "[0].data"),
    "azure-subject.json": ("event_error", "[0].subject"),
    "bad-utf8.bin": ("unknown_format", ""),
    "base64-of-nonsense.txt": ("unknown_format", ""),
    "bom.bin": ("unknown_format", ""),
    "cloudevents-foreign.json": ("unknown_format", "type"),
    "cloudevents-major.json": ("unknown_format", "specversion"),
    "deep-inside.bin": ("unknown_format", ""),
    "deep.bin": ("unknown_format", ""),
    "empty-array.json": ("event_error", ""),
    "empty.bin": ("unknown_format", ""),
    "eventbridge-major.json": ("unknown_format", "detail.event-version"),
    "eventbridge-other-source.json": ("unknown_format", "source"),
    "gcs-contradiction.json": ("event_error", "payload.generation"),
    "gcs-data-not-base64.json": ("event_error", "message.data"),
    "gcs-no-generation.json": ("event_error", "attributes.objectGeneration"),
    "gcs-unknown-event.json": ("unknown_format", "attributes.eventType"),
    "huge-number.bin": ("unknown_format", ""),
    "infinite.bin": ("unknown_format", ""),
    "lone-surrogate.bin": ("unknown_format", ""),
    "native-event-id.json": ("event_error", "eventId"),
    "native-february-30.json": ("event_error", "timestamp"),
    "native-key-empty.json": ("invalid_key", "source.key"),
    "native-key-nul.json": ("invalid_key", "destination.key"),
    "native-key-too-long.json": ("invalid_key", "source.key"),
    "native-major-2.json": ("unknown_format", "schemaVersion"),
    "native-no-correlation.json": ("event_error", "correlationId"),
    "native-no-offset.json": ("event_error", "timestamp"),
    "native-no-source.json": ("event_error", "source"),
    "native-no-version-text.json": ("unknown_format", "schemaVersion"),
    "native-provider.json": ("event_error", "source.provider"),
    "native-retries.json": ("event_error", "metadata.maxRetries"),
    "null.json": ("unknown_format", ""),
    "object.json": ("unknown_format", ""),
    "random.bin": ("unknown_format", ""),
    "s3-key-nul.json": ("invalid_key", "Records[0].s3.object.key"),
    "s3-major-3.json": ("unknown_format", "Records[0].eventVersion"),
    "s3-no-records.json": ("event_error", "Records"),
    "s3-size-text.json": ("event_error", "Records[0].s3.object.size"),
    "s3-sqs-record.json": ("event_error", "Records[0].s3"),
    "s3-unknown-event.json": ("unknown_format", "Records[0].eventName"),
    "scalar.json": ("unknown_format", ""),
    "sns-confirmation.json": ("unknown_format", "Type"),
    "sns-message-missing.json": ("event_error", "Message"),
    "sns-nested.json": ("unknown_format", ""),
    "truncated.bin": ("unknown_format", ""),
}


def test_no_file_is_left_out() -> None:
    """Each file of the corpus has a line here, and each line a file."""
    assert {p.name for p in VALID} == set(READ)
    assert {p.name for p in MALFORMED} == set(REFUSED)


@pytest.mark.parametrize("path", VALID, ids=lambda p: p.name)
def test_a_valid_body_is_read(path: Path) -> None:
    parsed = parse_message(path.read_bytes(), {})
    events = [f"{e.format} {e.change} {e.source.key}" for e in parsed.events]
    assert [*events, *parsed.ignored, *(["test"] if parsed.test else [])] == READ[path.name]


@pytest.mark.parametrize("path", VALID, ids=lambda p: p.name)
def test_reading_twice_says_the_same(path: Path) -> None:
    """Duplicate deliveries have equal event ids, and the events of one message have different ones."""
    events = parse_message(path.read_bytes(), {}).events
    assert parse_message(path.read_bytes(), {}).events == events
    assert len({e.event_id for e in events}) == len(events)
    assert all(e.correlation_id for e in events)


@pytest.mark.parametrize("path", MALFORMED, ids=lambda p: p.name)
def test_a_malformed_body_is_refused_with_the_field_and_the_problem(path: Path) -> None:
    with pytest.raises(EventError) as caught:
        parse_message(path.read_bytes(), {})
    assert (caught.value.kind, caught.value.where) == REFUSED[path.name]
    assert caught.value.message
    assert len(str(caught.value)) < 300
