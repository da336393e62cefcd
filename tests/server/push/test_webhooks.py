"""Webhooks of Backblaze B2, Tigris and Eventarc are let in by their proof, and become the events that their senders meant."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from tests.server.problem import problem
from tests.server.push.test_endpoints import bearer, oidc
from tests.server.served import Service

from skyferry.clouds.identity import files
from skyferry.config.push import PushSettings
from skyferry.config.settings import ServerSettings
from skyferry.errors import ConfigError
from skyferry.events.detect import parse_message
from skyferry.server import create_app
from skyferry.server.push.endpoints import PushEndpoints
from skyferry.testing.clock import ManualClock
from skyferry.testing.identity import Clouds, TokenServices, token_services
from skyferry.testing.identity.clouds import ACCOUNT

CORPUS = Path(__file__).parents[2] / "events" / "corpus" / "valid"
AUDIENCE = "https://skyferry.example/v1/push/gcs"
SECRET = "3XDfkdQte2OgA78qCtSD17LAzpj6ay9H"  # 32 characters, as B2 demands
UPLOAD = (CORPUS / "b2-upload.json").read_bytes()
UPLOADED = 1684793309.123
SIGNATURE = "x-bz-event-notification-signature"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(UPLOADED + 60)


@pytest.fixture
async def services(clock: ManualClock) -> AsyncIterator[TokenServices]:
    async with token_services(Clouds(clock.time)) as running:
        yield running


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(files, "PAUSE", 0.0)
    path = tmp_path / "secret"
    path.write_text(SECRET)
    return path


@pytest.fixture
async def client(
    service: Service, services: TokenServices, clock: ManualClock, secret: Path
) -> AsyncIterator[httpx.AsyncClient]:
    keys = f"{services.url}/keys/google"
    settings = [
        PushSettings(name="b2", kind="b2", secret_file=secret),
        PushSettings(name="tigris", kind="tigris", secret_file=secret),
        PushSettings(name="arc", kind="eventarc", audience=AUDIENCE, account=ACCOUNT, keys_url=keys),
    ]
    endpoints = PushEndpoints.from_settings(settings, {}, clock.time)
    app = create_app(service, ServerSettings(), CollectorRegistry(), endpoints)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://skyferry.example") as client:
        yield client


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {SIGNATURE: f"v1={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"}


def keys(service: Service) -> list[str]:
    """The keys of the events in the queue."""
    return [event.source.key for _, m in service.accepted for event in parse_message(m.body, {}).events]


async def test_what_b2_signs_is_in_the_queue_as_it_came(client: httpx.AsyncClient, service: Service) -> None:
    """Sent again, it is one message for the queue."""
    for _ in range(2):
        assert (await client.post("/v1/push/b2", content=UPLOAD, headers=signed(UPLOAD))).status_code == 200
    assert [m.body for _, m in service.accepted] == [UPLOAD] * 2
    assert len({m.dedup_id for _, m in service.accepted}) == 1
    assert keys(service)[0] == "objectName.txt"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        signed(UPLOAD, "another secret of 32 characters."),
        signed(UPLOAD + b" "),
        {SIGNATURE: signed(UPLOAD)[SIGNATURE].removeprefix("v1=")},
        {SIGNATURE: signed(UPLOAD)[SIGNATURE].replace("v1", "v2")},
        {SIGNATURE: signed(UPLOAD)[SIGNATURE][:-1]},
        {SIGNATURE: "v1="},
        {"authorization": f"Bearer {SECRET}"},
    ],
)
async def test_what_b2_did_not_sign_is_refused(
    client: httpx.AsyncClient, service: Service, headers: dict[str, str]
) -> None:
    response = await client.post("/v1/push/b2", content=UPLOAD, headers=headers)
    problem(response, 401, "not-authentic")
    assert service.accepted == []
    assert SECRET not in response.text


@pytest.mark.parametrize(("later", "status"), [(86300.0, 200), (86500.0, 401)])
async def test_a_recorded_body_of_b2_is_refused_after_a_day(
    client: httpx.AsyncClient, clock: ManualClock, later: float, status: int
) -> None:
    await clock.advance(later - 60)
    assert (await client.post("/v1/push/b2", content=UPLOAD, headers=signed(UPLOAD))).status_code == status


async def test_a_rotated_secret_of_b2_counts_at_once(client: httpx.AsyncClient, secret: Path) -> None:
    secret.write_text(SECRET[::-1])
    assert (await client.post("/v1/push/b2", content=UPLOAD, headers=signed(UPLOAD))).status_code == 401
    assert (await client.post("/v1/push/b2", content=UPLOAD, headers=signed(UPLOAD, SECRET[::-1]))).status_code == 200
    secret.unlink()
    assert (await client.post("/v1/push/b2", content=UPLOAD, headers=signed(UPLOAD))).status_code == 503


async def test_an_authentic_body_that_is_no_event_becomes_a_message(
    client: httpx.AsyncClient, service: Service
) -> None:
    """The worker makes a dead letter of it."""
    for body in (b"no JSON", b'{"events": []}', b'{"events": [{"eventTimestamp": "x"}]}'):
        assert (await client.post("/v1/push/b2", content=body, headers=signed(body))).status_code == 200
    assert len(service.accepted) == 3


async def test_tigris_pushes_by_its_token(client: httpx.AsyncClient, service: Service) -> None:
    body = (CORPUS / "tigris.json").read_bytes()
    assert (await client.post("/v1/push/tigris", content=body, headers=bearer(SECRET))).status_code == 200
    problem(await client.post("/v1/push/tigris", content=body, headers=bearer("x" * 32)), 401, "not-authentic")
    assert keys(service) == ["path/to/myfile.txt", "path/to/anotherfile.jpg"]


def test_each_kind_needs_its_proof() -> None:
    faults: list[dict[str, Any]] = [{"kind": "b2"}, {"kind": "tigris"}, {"kind": "eventarc", "audience": AUDIENCE}]
    for fault in faults:
        with pytest.raises(ValueError, match="needs"):
            PushSettings(name="x", **fault)


@pytest.mark.parametrize("mode", ["binary", "structured"])
async def test_eventarc_pushes_in_both_modes(
    client: httpx.AsyncClient, service: Service, services: TokenServices, mode: str
) -> None:
    """The attributes in the headers are kept with the object resource."""
    event = json.loads((CORPUS / "eventarc-finalized.json").read_bytes())
    data = event.pop("data")
    headers, body = oidc(services), {**event, "data": data}
    if mode == "binary":
        headers, body = headers | {f"ce-{name}": value for name, value in event.items()}, data
    assert (await client.post("/v1/push/arc", json=body, headers=headers)).status_code == 200
    [(_, message)] = service.accepted
    (made,) = parse_message(message.body, {}).events
    assert (made.format, made.source.key, made.occurred_at) == ("eventarc", "folder/a+b %41.txt", 1577968496.789)
    assert message.dedup_id == ("push:arc:123451234512345" if mode == "binary" else "")


async def test_eventarc_without_its_token_is_refused(client: httpx.AsyncClient, service: Service) -> None:
    response = await client.post(
        "/v1/push/arc", json={}, headers={"ce-type": "google.cloud.storage.object.v1.finalized"}
    )
    problem(response, 401, "not-authentic")
    assert service.accepted == []


def test_a_secret_is_read_before_the_server_starts() -> None:
    settings = PushSettings(name="b2", kind="b2", secret_env="S")
    with pytest.raises(ConfigError, match="weak"):
        PushEndpoints.from_settings([settings], {"S": "short"}, time.time)
