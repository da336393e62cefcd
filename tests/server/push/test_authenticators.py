"""What a push endpoint's settings must have, and the secrets that it goes by."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from tests.server.served import Service

from skyferry.clouds.identity import files
from skyferry.config.push import PushSettings
from skyferry.config.sections.faults import InvalidSettings
from skyferry.config.settings import ServerSettings
from skyferry.errors import ConfigError
from skyferry.server import create_app
from skyferry.server.push.endpoints import PushEndpoints

SECRET = "a-long-and-random-secret"


@pytest.mark.parametrize("secret", ["", "short", "x" * 15, "with spaces in it, long", "ü" * 20])
def test_a_weak_secret_is_a_fault_of_the_configuration(secret: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PushEndpoints.from_settings([PushSettings(name="ceph", kind="s3", secret_env="S")], {"S": secret}, time.time)
    assert not secret or secret not in str(caught.value)


async def test_a_replaced_secret_is_rejected(tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PAUSE", 0.0)
    path = tmp_path / "secret"
    path.write_text(SECRET)
    endpoints = PushEndpoints.from_settings([PushSettings(name="ceph", kind="s3", secret_file=path)], {}, time.time)
    transport = httpx.ASGITransport(create_app(service, ServerSettings(), CollectorRegistry(), endpoints))

    async def push(secret: str) -> int:
        return (
            await ceph.post("/v1/push/ceph", content=b"{}", headers={"authorization": f"Bearer {secret}"})
        ).status_code

    async with httpx.AsyncClient(transport=transport, base_url="https://skyferry.example") as ceph:
        assert await push(SECRET) < 300
        path.write_text(SECRET[::-1])
        assert await push(SECRET) == 401
        assert await push(SECRET[::-1]) < 300
        path.write_text("weak")
        assert [await push(SECRET[::-1]), await push("weak")] == [503, 503]


def test_names_are_unique() -> None:
    settings = PushSettings(name="ceph", kind="s3", secret_env="S")
    with pytest.raises(ConfigError, match="same name"):
        PushEndpoints.from_settings([settings, settings], {"S": SECRET}, time.time)


def test_keys_come_by_tls() -> None:
    settings = PushSettings(name="gcs", kind="pubsub", audience="a", account="b", keys_url="http://keys.example")
    with pytest.raises(ConfigError, match="without TLS"):
        PushEndpoints.from_settings([settings], {}, time.time)


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "pubsub", "audience": "a"},
        {"kind": "pubsub", "account": "a"},
        {"kind": "sns"},
        {"kind": "eventgrid"},
        {"kind": "eventgrid", "tenant_id": "t"},
        {"kind": "s3"},
    ],
)
def test_no_endpoint_is_open_without_authentication(settings: dict[str, str]) -> None:
    with pytest.raises(InvalidSettings, match="needs"):
        PushSettings.model_validate({"name": "x", **settings})


def test_no_secret_is_in_a_repr() -> None:
    endpoints = PushEndpoints.from_settings(
        [PushSettings(name="ceph", kind="s3", secret_env="S")], {"S": SECRET}, time.time
    )
    assert SECRET not in repr(endpoints)
