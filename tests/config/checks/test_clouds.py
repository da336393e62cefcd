"""What stores at a cloud must be."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

from skyferry.config.load import Checked, check
from skyferry.extras import install_command


def checked(tmp_path: Path, cloud: dict[str, Any] | str, **more: Any) -> Checked:
    """A route from a folder to this store."""
    cloud = {"url": cloud} if isinstance(cloud, str) else cloud
    data = {
        "stores": {"a": {"url": "file://a"}, "cloud": cloud},
        "routes": [{"name": "r", "from": "a", "to": "cloud"}],
        **more,
    }
    file = tmp_path / "skyferry.yaml"
    file.write_text(yaml.safe_dump(data))
    return check(file, {})


@pytest.mark.parametrize(
    ("cloud", "where", "message"),
    [
        ("s3://b?endpoint=http://minio.example.org", "stores.cloud.url", "without TLS"),
        ({"url": "s3://b", "endpoint": "http://10.0.0.1:9000"}, "stores.cloud.endpoint", "without TLS"),
        (
            {"url": "s3://b", "identity": {"endpoint": "http://[::1"}},
            "stores.cloud.identity.endpoint",
            "is not the URL of a server",
        ),
        ({"url": "s3://b", "endpoint": "minio:9000"}, "stores.cloud.endpoint", "is not the URL of a server"),
        (
            {"url": "s3://b", "endpoint": "https://me:hunter2@minio"},
            "stores.cloud.endpoint",
            "the endpoint must not contain credentials",
        ),
        ({"url": "s3://b", "identity": {"endpoint": "http://sts"}}, "stores.cloud.identity.endpoint", "without TLS"),
        (
            {"url": "s3://b", "secret_access_key": "hunter2"},
            "stores.cloud.secret_access_key",
            "must not contain a secret",
        ),
        ({"url": "az://a/b", "account_key": "hunter2"}, "stores.cloud.account_key", "must not contain a secret"),
        (
            {"url": "gs://b", "identity": {"private_key": "x"}},
            "stores.cloud.identity.private_key",
            "must not contain a secret",
        ),
        ({"url": "gs://b", "identity": {"pool": "aws"}}, "stores.cloud.identity.pool", "not a valid name at Google"),
        (
            {"url": "gs://b", "identity": {"provider": "gcp-x"}},
            "stores.cloud.identity.provider",
            "not a valid name at Google",
        ),
        ("az://b", "stores.cloud.url", "needs the account"),
        ("s3://b?identity=root", "stores.cloud.url", "option identity"),
        ({"url": "s3://b", "encryption": "AES256", "kms_key": "k"}, "stores.cloud.kms_key", "not used"),
        ("s3://b/c", "stores.cloud.url", "names more than"),
    ],
)
def test_what_cannot_work_at_a_cloud_is_a_fault(tmp_path: Path, cloud: Any, where: str, message: str) -> None:
    found = checked(tmp_path, cloud)
    assert [f.where for f in found.faults] == [where], found.faults
    assert message in found.faults[0].message
    assert found.faults[0].line is not None
    assert "hunter2" not in str(found.faults[0])


def test_a_key_in_the_file_is_reported_with_the_alternative(tmp_path: Path) -> None:
    [fault] = checked(tmp_path, {"url": "s3://b", "access_key": "AKIA"}).faults
    assert "identity: {kind: static, secret_file: FILE}" in fault.hint


@pytest.mark.parametrize(
    "cloud",
    [
        "s3://b?endpoint=http://[::1]:4566&service=localstack",
        {"url": "s3://b", "endpoint": "http://minio", "allow_http": True},
        {"url": "gs://b", "kms_key": "projects/p/locations/l/keyRings/r/cryptoKeys/k"},
        {"url": "az://b", "endpoint": "http://127.0.0.1:10000/devstoreaccount1", "identity": {"kind": "static"}},
    ],
)
def test_what_works_has_neither_faults_nor_warnings(tmp_path: Path, cloud: Any) -> None:
    found = checked(tmp_path, cloud)
    assert (found.faults, found.warnings) == ((), ())


def test_a_setting_that_means_nothing_there_is_a_warning(tmp_path: Path) -> None:
    found = checked(tmp_path, {"url": "gs://b", "hierarchical": True})
    assert [(w.where, w.hint) for w in found.warnings] == [
        ("stores.cloud.hierarchical", "Remove it: it does not apply to gs://.")
    ]


def test_a_missing_extra_is_reported_with_its_install_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, package=None: None if name == "aiohttp" else real(name, package)
    )
    [fault] = checked(tmp_path, "s3://b").faults
    assert (fault.message, fault.hint) == (
        "s3:// needs aiohttp, which is not installed",
        install_command("s3"),
    )
    assert checked(tmp_path, "file://b").faults == ()


@pytest.mark.parametrize(
    ("queue", "where", "message"),
    [
        ({"url": "sqs://events?endpoint=http://example.org"}, "queues[0].url", "without TLS"),
        ({"url": "pubsub://subscription"}, "queues[0].url", "needs project and subscription"),
        ({"url": "sqs://events", "secret_key": "hunter2"}, "queues[0].secret_key", "must not contain a secret"),
        ({"url": "sqs://account/events/more"}, "queues[0].url", "names more than"),
        ({"url": "sqs://events", "lease": "12.1h"}, "queues[0].lease", "longer than sqs:// allows: 43200 s"),
        (
            {"url": "pubsub://project/events?topic=t", "lease": "11m"},
            "queues[0].lease",
            "longer than pubsub:// allows: 600 s",
        ),
        ({"url": "azq://account/events", "lease": "8d"}, "queues[0].lease", "longer than azq:// allows: 604800 s"),
    ],
)
def test_queues_are_held_to_the_same(tmp_path: Path, queue: dict[str, Any], where: str, message: str) -> None:
    file = tmp_path / "skyferry.yaml"
    file.write_text(yaml.safe_dump({"queues": [{"name": "events", **queue}]}))
    found = check(file, {})
    assert [(f.where, message in f.message) for f in found.faults] == [(where, True)], found.faults


@pytest.mark.parametrize(
    "cloud", ["gs://b?large_upload_mode=resumable", {"url": "gs://b", "large_upload_mode": "resumable"}]
)
@pytest.mark.parametrize(("part_size", "valid"), [("100KiB", True), ("8MiB", True), ("256KiB", True), ("10MB", False)])
def test_parts_of_a_resumable_upload_are_multiples_of_256_kib(
    tmp_path: Path, cloud: Any, part_size: str, *, valid: bool
) -> None:
    """Smaller ones are made larger; and nobody else minds."""
    limits = {"part_size": part_size}
    found = checked(tmp_path, cloud, limits=limits)
    assert [f.where for f in found.faults] == ([] if valid else ["limits.part_size"]), found.faults
    assert all("256KiB" in f.message and "cloud" in f.hint for f in found.faults)
    assert not checked(tmp_path, "gs://b", limits=limits).faults


def test_only_cloud_storage_has_resumable_uploads(tmp_path: Path) -> None:
    """Elsewhere the setting is ignored, and that is said; as an option it is none."""
    found = checked(tmp_path, {"url": "s3://b", "large_upload_mode": "resumable"})
    assert [(f.where, f.message) for f in found.warnings] == [("stores.cloud.large_upload_mode", "is ignored")]
    assert "no option 'large_upload_mode'" in checked(tmp_path, "s3://b?large_upload_mode=resumable").faults[0].message
    assert "option large_upload_mode" in checked(tmp_path, "gs://b?large_upload_mode=multipart").faults[0].message


FOLDER = {"source": {"url": "file://source"}, "destination": {"url": "file://destination"}}
CLOUD = {"source": {"url": "s3://photos"}, "destination": {"url": "file://destination"}}
ROUTE = {"name": "r", "from": "source", "to": "destination"}
DEAF = {"name": "deaf", "url": "pubsub://proj-1/sub-1"}
DOOR = {"name": "door", "kind": "s3", "secret_file": "secret", "queue": "deaf"}


@pytest.mark.parametrize(
    ("stores", "more", "message"),
    [
        (FOLDER, {"queues": [DEAF]}, "the watched folder of source sends events to queue deaf"),
        (FOLDER, {"queues": [{**DEAF, "topic": "t"}]}, ""),
        (FOLDER, {"queues": [{"name": "first", "url": "sqlite://queue.db"}, DEAF]}, ""),
        ({**FOLDER, "source": {"url": "file://source", "watch": False}}, {"queues": [DEAF]}, ""),
        (CLOUD, {"queues": [DEAF]}, ""),
        (CLOUD, {"queues": [{"name": "q", "url": "sqs://q"}, DEAF], "push": [DOOR]}, "push endpoint door sends events"),
        (CLOUD, {"queues": [{**DEAF, "url": "pubsub://proj-1/sub-1?topic=t"}], "push": [DOOR]}, ""),
    ],
)
def test_a_queue_that_takes_nothing_is_a_fault_for_what_sends(
    tmp_path: Path, stores: dict[str, Any], more: dict[str, Any], message: str
) -> None:
    """It could never be copied; where nothing sends by itself, it is fine."""
    file = tmp_path / "skyferry.yaml"
    file.write_text(yaml.safe_dump({"stores": stores, "routes": [ROUTE], **more}))
    faults = [f"{fault.where}: {fault.message}" for fault in check(file, {}).faults]
    assert [message in fault for fault in faults] == ([True] if message else [])


@pytest.mark.parametrize(
    ("url", "queue", "doors", "heard"),
    [
        ("s3://photos", "sqlite://queue.db", [], False),
        ("s3://photos", "pubsub://proj-1/sub-1", [], False),
        ("s3://photos", "sqs://photos", [], True),
        ("s3://photos", "sqlite://queue.db", [{**DOOR, "queue": ""}], True),
        ("s3://photos?endpoint=https://minio.example.org&region=us-east-1", "azq://acc/q", [], True),
        ("gs://photos", "sqs://photos", [], False),
        ("az://acc/photos", "azq://acc/photos", [], True),
        ("file://photos", "sqlite://queue.db", [], True),
    ],
)
def test_a_source_without_any_notification_is_a_warning(
    tmp_path: Path, url: str, queue: str, doors: list[Any], heard: bool
) -> None:
    """What is submitted still works."""
    stores = {"source": {"url": url}, "destination": {"url": "file://destination"}}
    queues = [{"name": "q", "url": queue}]
    file = tmp_path / "skyferry.yaml"
    file.write_text(yaml.safe_dump({"stores": stores, "routes": [ROUTE], "queues": queues, "push": doors}))
    checked = check(file, {})
    assert checked.faults == ()
    assert [w.where for w in checked.warnings if "can notify none" in w.message] == (
        [] if heard else ["routes[0].from"]
    )


@pytest.mark.parametrize(
    "url",
    [
        "sqs://events?region=eu-west-1",
        "arn:aws:sqs:eu-west-1:123456789012:events",
        "https://sqs.eu-west-1.amazonaws.com/123456789012/events",
    ],
)
def test_each_spelling_of_a_queue_can_be_notified(tmp_path: Path, url: str) -> None:
    file = tmp_path / "skyferry.yaml"
    file.write_text(
        "routes: [{name: r, from: 's3://in?region=eu-west-1', to: 's3://out?region=eu-west-1'}]\n"
        f"queues: [{{name: q, url: '{url}'}}]\n"
    )
    found = check(file, {})
    assert (found.faults, found.warnings) == ((), ())
