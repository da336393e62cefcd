"""Secrets that can be guessed, read by others or heard on the wire do not pass without a word."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from skyferry.config.load import Checked, check

LONG = "0123456789abcdef"
TOKEN = "SKYFERRY_SERVER__TOKEN"
S3 = {"stores": {"a": {"url": "s3://bucket?region=eu-west-1"}}}


def checked(folder: Path, data: object, **environ: str) -> Checked:
    file = folder / "skyferry.yaml"
    file.write_text(yaml.safe_dump(data))
    return check(file, environ)


def said(found: Checked) -> tuple[list[str], list[str]]:
    """Faults and warnings that are about secrets: the rest of a configuration is another matter."""
    words = ("guessed", "secret", "credentials", "TLS")
    lists = (
        [f"{fault.where}: {fault.message}" for fault in each if any(word in fault.message for word in words)]
        for each in (found.faults, found.warnings)
    )
    faults, warnings = lists
    return faults, warnings


@pytest.mark.parametrize(
    ("listen", "length", "faults", "warnings"),
    [
        ("0.0.0.0:80", 1, 1, 0),
        ("0.0.0.0:80", 15, 1, 0),
        ("0.0.0.0:80", 16, 0, 0),
        ("127.0.0.1:80", 15, 0, 1),
        ("[::1]:80", 15, 0, 1),
        ("127.0.0.1:80", 16, 0, 0),
    ],
)
def test_a_token_that_can_be_guessed(listen: str, length: int, faults: int, warnings: int, tmp_path: Path) -> None:
    """A fault where others of the network may try; on loopback a warning."""
    data, token = {"server": {"listen": listen}}, LONG[:length]
    found = checked(tmp_path, data, **{TOKEN: token})
    assert tuple(map(len, said(found))) == (faults, warnings)
    assert not any(f"'{token}'" in str(fault) for fault in (*found.faults, *found.warnings))
    file = tmp_path / "token"
    file.write_text(f"{token}\n")
    file.chmod(0o600)
    data["server"]["token_file"] = str(file)
    assert tuple(map(len, said(checked(tmp_path, data)))) == (faults, warnings)


def test_a_push_secret_that_can_be_guessed(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("short")
    file.chmod(0o600)
    for door in ({"secret_env": "S"}, {"secret_file": str(file)}):
        found = checked(tmp_path, {"push": [{"name": "ceph", "kind": "s3", **door}]}, S="short")
        assert said(found) == (["push: ceph: the secret is short enough to be guessed"], [])
    assert said(checked(tmp_path, {"push": [{"name": "ceph", "kind": "s3", "secret_env": "S"}]})) == ([], [])


@pytest.mark.parametrize(
    ("mode", "faults", "warnings"),
    [
        (0o600, 0, 0),
        (0o400, 0, 0),
        (0o640, 0, 0),
        (0o644, 0, 1),
        (0o660, 0, 1),
        (0o664, 0, 2),
        (0o606, 1, 1),
        (0o666, 1, 1),
    ],
)
def test_files_with_secrets_that_others_may_read_or_write(
    mode: int, faults: int, warnings: int, tmp_path: Path
) -> None:
    """A fault if every user may write one; a warning if every user may read it, or the group write."""
    file = tmp_path / "secret"
    file.write_text(LONG)
    file.chmod(mode)
    static = {"kind": "static", "secret_file": str(file)}
    for data in (
        {"server": {"token_file": str(file)}},
        {"push": [{"name": "ceph", "kind": "s3", "secret_file": str(file)}]},
        {"stores": {"a": {"url": "s3://bucket", "identity": static}}},
        {"stores": {"a": {"url": "s3://bucket", "identity": {"kind": "static", "key_file": str(file)}}}},
        {"queues": [{"name": "q", "url": "sqs://q", "identity": static}]},
        {"queues": [{"name": "q", "url": "sqs://q", "identity": {"kind": "federated", "token_file": str(file)}}]},
        {"dead_letters": {"url": "sqs://dead", "identity": static}},
    ):
        assert tuple(map(len, said(checked(tmp_path, data)))) == (faults, warnings), data


@pytest.mark.parametrize(
    ("url", "faults", "warnings"),
    [
        ("http://localhost:4318", 0, 0),
        ("https://collector.example:4318", 0, 0),
        ("http://collector.example:4318", 0, 1),
        ("https://user:pass@collector.example:4318", 1, 0),
        ("http://user@collector.example:4318", 1, 0),
    ],
)
def test_where_traces_go(url: str, faults: int, warnings: int, tmp_path: Path) -> None:
    found = checked(tmp_path, {"tracing": {"otlp_endpoint": url}})
    assert tuple(map(len, said(found))) == (faults, warnings)
    assert "pass" not in " ".join(map(str, found.faults))


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS"])
@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://sts.example", "without TLS"),
        ("https://user:pass@sts.example", "contains credentials"),
        ("https://sts.example", ""),
        ("http://127.0.0.1:4566", ""),
    ],
)
def test_where_the_environment_sends_credentials(name: str, url: str, expected: str, tmp_path: Path) -> None:
    faults, warnings = said(checked(tmp_path, S3, **{name: url}))
    assert (len(faults), warnings) == (1 if expected else 0, [])
    assert all(expected in fault and name in fault and "pass" not in fault for fault in faults)


def test_an_endpoint_that_is_allowed_or_not_asked_is_none(tmp_path: Path) -> None:
    named = {"AWS_ENDPOINT_URL": "http://localstack:4566"}
    for identity in ({"allow_http": True}, {"kind": "static"}):
        data = {"stores": {"a": {"url": "s3://bucket?region=eu-west-1", "identity": identity}}}
        assert said(checked(tmp_path, data, **named)) == ([], [])
    assert said(checked(tmp_path, {"stores": {"a": {"url": "gs://bucket"}}}, **named)) == ([], [])
    google = {"kind": "federated", "token": "aws", "project": "1", "pool": "pool", "provider": "amazon"}
    faults, _ = said(checked(tmp_path, {"stores": {"a": {"url": "gs://bucket", "identity": google}}}, **named))
    assert len(faults) == 1
