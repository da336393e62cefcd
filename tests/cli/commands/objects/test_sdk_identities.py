"""`copy` and `ls` use the credentials that Amazon's own tools would use, as everybody expects at a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import boto3  # type: ignore[import-untyped]  # no stubs are published with it
import pytest

from skyferry.testing.servers.localstack import LocalStack

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

pytestmark = pytest.mark.filterwarnings("default::skyferry.clouds.identity.policy.LongLivedKeyWarning")
SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
KEY = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET}
WARNING = "is a long-lived key; at Amazon, `aws sso login` gives keys that expire\n"


@pytest.fixture
def bucket(localstack_server: LocalStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A bucket that only the endpoint of the environment or of a profile can name."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_CONFIG_FILE", raising=False)
    monkeypatch.delenv("AWS_SHARED_CREDENTIALS_FILE", raising=False)
    name = "sdk-identities"
    client = boto3.client(
        "s3",
        endpoint_url=localstack_server.url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.create_bucket(Bucket=name)
    client.close()
    Path(tmp_path, "one.txt").write_text("hello")
    return name


def test_keys_and_endpoint_of_the_environment(
    cli: Cli, bucket: str, localstack_server: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (KEY | {"AWS_ENDPOINT_URL": localstack_server.url}).items():
        monkeypatch.setenv(name, value)
    result = cli("copy", "one.txt", f"s3://{bucket}/env/")
    assert (result.code, SECRET in result.err + result.out) == (0, False)
    assert "1 object copied" in result.out + result.err
    assert result.err.count(WARNING) == 1


def test_a_profile_with_its_endpoint_and_region(
    cli: Cli, bucket: str, localstack_server: LocalStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path(tmp_path, ".aws").mkdir()
    Path(tmp_path, ".aws", "credentials").write_text(
        f"[ops]\naws_access_key_id = {KEY['AWS_ACCESS_KEY_ID']}\naws_secret_access_key = {SECRET}\n"
    )
    Path(tmp_path, ".aws", "config").write_text(
        f"[profile ops]\nregion = us-east-1\nservices = local\n[services local]\ns3 =\n  endpoint_url = {localstack_server.url}\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "ops")
    assert cli("copy", "one.txt", f"s3://{bucket}/profile/").code == 0
    assert "profile/one.txt" in cli("ls", f"s3://{bucket}/profile/").out


def test_a_profile_that_does_not_exist_has_a_hint(cli: Cli, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "absent")
    result = cli("ls", f"s3://{bucket}/?endpoint=http://127.0.0.1:9")
    assert (result.code, "(absent) could not be found (correct AWS_PROFILE" in result.err) == (1, True), result.err


def test_a_process_that_gives_keys_which_expire_needs_no_warning(
    cli: Cli, bucket: str, localstack_server: LocalStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path(tmp_path, "keys.json").write_text(
        f'{{"Version": 1, "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "{SECRET}", "SessionToken": "t",'
        ' "Expiration": "2099-01-01T00:00:00Z"}'
    )
    Path(tmp_path, "config").write_text(f"[default]\ncredential_process = cat {tmp_path}/keys.json\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", localstack_server.url)
    result = cli("copy", "one.txt", f"s3://{bucket}/process/")
    assert (result.code, "warning" in result.err) == (0, False)


def test_the_service_and_an_explicit_auto_refuse_the_key_and_say_both_ways(
    cli: Cli, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KEY.items():
        monkeypatch.setenv(name, value)
    result = cli("ls", f"s3://{bucket}/?identity=auto")
    assert result.code == 1
    assert "kind: federated" in result.err
    assert "identity: {kind: sdk}" in result.err
    assert SECRET not in result.err


def test_keys_never_go_over_plain_http_to_another_machine(
    cli: Cli, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (KEY | {"AWS_ENDPOINT_URL": "http://192.0.2.1:9000"}).items():
        monkeypatch.setenv(name, value)
    assert "an endpoint without TLS" in cli("ls", f"s3://{bucket}/").err


def test_a_broken_profile_is_an_error_that_does_not_quote_the_file(
    cli: Cli, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path(tmp_path, "config").write_text(f"aws_secret_access_key = {SECRET}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    result = cli("ls", f"s3://{bucket}/")
    assert result.err == f"error: {tmp_path}/config: the configuration of AWS cannot be parsed (correct the file)\n"


def test_the_processes_of_a_copy_do_not_repeat_the_warning(
    cli: Cli, bucket: str, localstack_server: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (KEY | {"AWS_ENDPOINT_URL": localstack_server.url}).items():
        monkeypatch.setenv(name, value)
    result = cli("copy", "one.txt", f"s3://{bucket}/processes/", "--processes", "2")
    assert (result.code, "1 object copied" in result.out) == (0, True)
    assert result.err.count("is a long-lived key") == 1


def test_a_person_without_an_identity_is_told_to_log_in(cli: Cli, bucket: str, localstack_server: LocalStack) -> None:
    result = cli("ls", f"s3://{bucket}?endpoint={localstack_server.url}")
    assert result.code == 1
    assert "no identity at AWS (log in (`aws sso login`), or give the machine a role" in result.err
