"""No long-lived key unless it is said, no secret in the configuration or an error, no wire without TLS."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.clouds.identity.conftest import Federated

from skyferry.clouds.azure import SharedKey
from skyferry.clouds.credentials import S3Credentials
from skyferry.clouds.identity.build import IdentityContext, aws_credentials, azure_key, azure_token, google_token
from skyferry.clouds.identity.policy import LongLivedKeyWarning, require_tls
from skyferry.config.identity import IdentitySettings
from skyferry.config.sections.faults import InvalidSettings
from skyferry.errors import ConfigError, IdentityRefused
from skyferry.testing.clock import ManualClock
from skyferry.testing.identity import TokenServices

KEYS = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI"}


@pytest.fixture
def here(clock: ManualClock) -> IdentityContext:
    return IdentityContext("store", clock, {})


async def test_a_static_key_in_the_environment_is_refused_and_the_federated_way_is_shown(
    here: IdentityContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(IdentityRefused, match="long-lived key") as caught:
        await aws_credentials(IdentitySettings(), here)()
    assert "kind: federated" in caught.value.hint
    assert "wJalr" not in str(caught.value)


async def test_a_machine_without_an_identity_at_aws_gets_a_clear_error(
    here: IdentityContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(IdentityRefused, match="no identity at AWS"):
        await aws_credentials(IdentitySettings(), here)()


@pytest.mark.parametrize(
    "info",
    [
        {"type": "service_account", "private_key": "PRIVATE"},
        {"type": "impersonated_service_account", "source_credentials": {"type": "service_account"}},
    ],
)
async def test_the_key_of_a_service_account_is_refused(
    here: IdentityContext, tmp_path: Path, info: dict[str, object]
) -> None:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(info))
    with pytest.raises(IdentityRefused, match="long-lived key") as caught:
        await google_token(IdentitySettings(), replace(here, env={"GOOGLE_APPLICATION_CREDENTIALS": str(path)}))()
    assert "workload identity pool" in caught.value.hint
    assert "PRIVATE" not in str(caught.value)


async def test_the_identity_of_the_sdk_accepts_a_long_lived_key_with_a_warning(
    here: IdentityContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with pytest.warns(LongLivedKeyWarning, match="botocore found") as warned:
        found = await aws_credentials(IdentitySettings(kind="sdk"), here)()
    assert found == S3Credentials(*KEYS.values())
    assert "wJalr" not in str(warned[0].message)


async def test_where_static_is_said_the_secret_comes_from_the_environment_or_a_file(
    here: IdentityContext, tmp_path: Path
) -> None:
    path = tmp_path / "secret"
    path.write_text("from-file\n")
    settings = IdentitySettings(kind="static")
    assert await aws_credentials(settings, replace(here, env=KEYS))() == S3Credentials(*KEYS.values())
    by_file = IdentitySettings(kind="static", secret_file=path, key_env="KEY")
    assert await aws_credentials(by_file, replace(here, env={"KEY": "minio"}))() == S3Credentials("minio", "from-file")
    env = {"AZURE_STORAGE_KEY": "a2V5"}
    assert await azure_key(IdentitySettings(kind="static"), replace(here, env=env), "a")() == SharedKey("a", "a2V5")
    assert await azure_key(by_file, replace(here, env={}), "a")() == SharedKey("a", "from-file")


async def test_a_secret_that_is_missing_is_a_fault_of_the_configuration(here: IdentityContext, tmp_path: Path) -> None:
    for settings in (
        IdentitySettings(kind="static"),
        IdentitySettings(kind="static", secret_file=tmp_path / "absent", key_env="KEY"),
    ):
        with pytest.raises(ConfigError, match=r"access key|secret key"):
            await aws_credentials(settings, replace(here, env={"KEY": "k"} if settings.secret_file else {}))()


@pytest.mark.parametrize("name", ["secret", "secret_key", "password", "key"])
def test_the_configuration_has_no_place_for_a_secret(name: str) -> None:
    with pytest.raises(InvalidSettings):
        IdentitySettings.model_validate({"kind": "static", name: "s3cr3t"})


async def test_anonymous_is_an_empty_token_at_google_and_nothing_elsewhere(here: IdentityContext) -> None:
    anonymous = IdentitySettings(kind="anonymous")
    assert await google_token(anonymous, here)() == ""
    for builder in (aws_credentials, azure_token):
        with pytest.raises(ConfigError):
            builder(anonymous, here)


@pytest.mark.parametrize(
    "url", ["https://s3.example", "http://127.0.0.1:9000", "http://[::1]:1", "http://localhost:4566"]
)
def test_tls_is_not_needed_on_loopback(url: str) -> None:
    require_tls(url)


@pytest.mark.parametrize(
    "url", ["http://minio.example:9000", "http://10.0.0.1", "http://127.0.0.1.example", "http://localhost.example"]
)
def test_elsewhere_it_is_unless_the_configuration_says_not(url: str) -> None:
    with pytest.raises(ConfigError, match="without TLS"):
        require_tls(url)
    require_tls(url, allow_http=True)


@pytest.mark.parametrize("url", ["ftp://x", "file:///etc/passwd", "minio:9000", ""])
def test_an_endpoint_is_a_url_of_http(url: str) -> None:
    with pytest.raises(ConfigError, match="https://"):
        require_tls(url, allow_http=True)


def test_an_error_about_an_endpoint_does_not_repeat_its_password() -> None:
    with pytest.raises(ConfigError) as caught:
        require_tls("http://user:s3cr3t@minio.example/")
    assert "s3cr3t" not in str(caught.value)


def test_token_endpoints_need_tls_too(services: TokenServices, federated: Federated, here: IdentityContext) -> None:
    for settings, env in (
        (federated("http://sts.example/"), {}),
        (federated("", token="url", token_url="http://tokens.example"), {}),
        (federated(""), {"AZURE_AUTHORITY_HOST": "http://login.example"}),
    ):
        with pytest.raises(ConfigError, match="without TLS"):
            azure_token(settings, replace(here, env=env))
    amazon = replace(here, env={"AWS_ENDPOINT_URL": "http://sts.example"})  # botocore reads it by itself
    for identity in (
        IdentitySettings(),
        IdentitySettings(kind="federated", token="aws", role_arn="arn:aws:iam::1:role/r"),
    ):
        with pytest.raises(ConfigError, match="without TLS"):
            aws_credentials(identity, amazon)
    aws_credentials(IdentitySettings(allow_http=True), amazon)


@pytest.mark.parametrize("token", ["file", "url"])
def test_settings_that_are_not_whole_are_refused(token: str) -> None:
    with pytest.raises(InvalidSettings, match=f"needs token_{token}"):
        IdentitySettings.model_validate({"kind": "federated", "token": token})


def test_each_cloud_says_what_it_needs(here: IdentityContext) -> None:
    settings = IdentitySettings(kind="federated", token="google")
    for builder, need in ((aws_credentials, "role_arn"), (google_token, "project"), (azure_token, "tenant_id")):
        with pytest.raises(ConfigError, match=need):
            builder(settings, here)
