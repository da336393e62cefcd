"""What providers push is let in when it proves where it is from, and is in the queue before the answer."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from prometheus_client import CollectorRegistry
from tests.server.problem import problem
from tests.server.served import Service

from skyferry.clouds.identity.exchange import TokenRequest
from skyferry.config.push import EVENT_GRID, PushSettings
from skyferry.config.settings import ServerSettings
from skyferry.errors import QueueError
from skyferry.server import create_app
from skyferry.server.push import tokens as push_tokens
from skyferry.server.push.endpoints import PushEndpoints
from skyferry.testing.clock import ManualClock
from skyferry.testing.identity import Clouds, ServiceFailure, TokenServices, token_services
from skyferry.testing.identity.clouds import ACCOUNT, ACCOUNT_ID, ENTRA, GOOGLE, TENANT
from skyferry.testing.identity.issuer import Issuer

AUDIENCE = "https://skyferry.example/v1/push/gcs"
SECRET = "a-long-and-random-secret"
PUBSUB = {
    "message": {"attributes": {"eventType": "OBJECT_FINALIZE"}, "data": "", "messageId": "77"},
    "subscription": "s",
}
CLOUD_EVENT = [{"specversion": "1.0", "type": "Microsoft.Storage.BlobCreated", "id": "1", "source": "/x"}]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(time.time())


@pytest.fixture
async def services(clock: ManualClock) -> AsyncIterator[TokenServices]:
    async with token_services(Clouds(clock.time)) as running:
        yield running


@pytest.fixture
async def client(service: Service, services: TokenServices, clock: ManualClock) -> AsyncIterator[httpx.AsyncClient]:
    settings = [
        PushSettings(
            name="gcs", kind="pubsub", audience=AUDIENCE, account=ACCOUNT, keys_url=f"{services.url}/keys/google"
        ),
        PushSettings(
            name="blobs",
            kind="eventgrid",
            audience="api://ferry",
            tenant_id=TENANT,
            keys_url=f"{services.url}/keys/entra",
        ),
        PushSettings(name="azure", kind="eventgrid", secret_env="PUSH_SECRET"),
        PushSettings(name="ceph", kind="s3", secret_env="PUSH_SECRET", queue="second"),
    ]
    endpoints = PushEndpoints.from_settings(settings, {"PUSH_SECRET": SECRET}, clock.time)
    app = create_app(service, ServerSettings(), CollectorRegistry(), endpoints)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://skyferry.example") as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def oidc(services: TokenServices, issuer: Issuer | None = None, **others: Any) -> dict[str, str]:
    """What Pub/Sub sends."""
    issuer = issuer or services.clouds.issuers[GOOGLE]
    claims = {"audience": AUDIENCE, "email": ACCOUNT, "email_verified": True, **others}
    return bearer(issuer.token(ACCOUNT_ID, **claims))


def by_its_public_key(claims: dict[str, Any], issuer: Issuer) -> str:
    """A token that is signed (HS256) with what everybody knows, which a careless check takes for a secret."""
    public = issuer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "typ": "JWT", "kid": issuer.kid}
    text = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)
    )
    signature = base64.urlsafe_b64encode(hmac.digest(public, text.encode(), "sha256")).rstrip(b"=").decode()
    return f"{text}.{signature}"


async def test_a_push_of_pubsub_is_in_the_queue_as_it_came(
    client: httpx.AsyncClient, service: Service, services: TokenServices
) -> None:
    body = json.dumps(PUBSUB).encode()
    for _ in range(3):
        assert (await client.post("/v1/push/gcs", content=body, headers=oidc(services))).status_code == 200
    assert [(queue, m.body, m.dedup_id) for queue, m in service.accepted] == [("", body, "push:gcs:77")] * 3
    assert services.clouds.calls["keys"] == 1  # fetched once


async def test_what_cannot_be_queued_is_not_acknowledged(
    client: httpx.AsyncClient, service: Service, services: TokenServices
) -> None:
    service.fails = QueueError("disk full")
    response = await client.post("/v1/push/gcs", json=PUBSUB, headers=oidc(services))
    problem(response, 503, "service-unavailable")


@pytest.mark.parametrize(
    ("others", "status", "said"),
    [
        ({"audience": "https://elsewhere.example"}, 401, "another audience"),
        ({"life": -120.0}, 401, "expired"),
        ({"iat": 4e9, "exp": 5e9}, 401, "not valid yet"),
        ({"nbf": 4e9, "exp": 5e9}, 401, "not valid yet"),
        ({"iss": "https://accounts.google.com.evil.example"}, 401, "another issuer"),
        ({"exp": "never"}, 401, "an invalid time"),
        ({"email": "other@project.iam.gserviceaccount.com"}, 403, "another account"),
        ({"email_verified": False}, 403, "another account"),
        ({"email": None}, 403, "another account"),
    ],
)
async def test_a_token_that_is_not_the_right_one_is_refused(
    others: dict[str, Any],
    status: int,
    said: str,
    client: httpx.AsyncClient,
    service: Service,
    services: TokenServices,
) -> None:
    response = await client.post("/v1/push/gcs", json=PUBSUB, headers=oidc(services, **others))
    assert said in problem(response, status, "not-authentic")["detail"]
    assert service.accepted == []


@pytest.mark.parametrize(
    "others", [{"audience": ["https://elsewhere.example", AUDIENCE]}, {"nbf": 20.0}, {"iat": 20.0}]
)
async def test_one_of_several_audiences_and_clocks_that_differ_a_little_are_fine(
    others: dict[str, Any], client: httpx.AsyncClient, services: TokenServices, clock: ManualClock
) -> None:
    """By half a minute, for what begins as for what ends."""
    claims = {name: clock.time() + value if name in ("nbf", "iat") else value for name, value in others.items()}
    assert (await client.post("/v1/push/gcs", json=PUBSUB, headers=oidc(services, **claims))).status_code == 200


async def test_a_forged_token_is_refused(client: httpx.AsyncClient, service: Service, services: TokenServices) -> None:
    google = services.clouds.issuers[GOOGLE]
    claims = {"iss": GOOGLE, "aud": AUDIENCE, "email": ACCOUNT, "email_verified": True, "iat": 1, "exp": 5e9}
    unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": google.kid})
    confused = by_its_public_key(claims, google)
    own = oidc(services, google.forger())["authorization"].removeprefix("Bearer ")
    unknown = Issuer(GOOGLE, google.clock, "key-2").token(ACCOUNT_ID, AUDIENCE, email=ACCOUNT, email_verified=True)
    for token in (unsigned, confused, own, unknown, "nonsense", "a.b.c", ""):
        response = await client.post("/v1/push/gcs", json=PUBSUB, headers=bearer(token))
        problem(response, 401, "not-authentic")
    assert service.accepted == []


async def test_unknown_keys_are_asked_for_once_a_minute_however_many_are_named(
    client: httpx.AsyncClient, services: TokenServices, clock: ManualClock
) -> None:
    google = services.clouds.issuers[GOOGLE]
    await client.post("/v1/push/gcs", json=PUBSUB, headers=oidc(services))
    services.clouds.issuers[GOOGLE] = rotated = Issuer(GOOGLE, google.clock, "key-2", owner="rotated")
    for number in range(20):
        forged = oidc(services, Issuer(GOOGLE, google.clock, f"no-{number}"))
        assert (await client.post("/v1/push/gcs", json=PUBSUB, headers=forged)).status_code == 401
    assert services.clouds.calls["keys"] == 1
    await clock.advance(61)
    assert (await client.post("/v1/push/gcs", json=PUBSUB, headers=oidc(services, rotated))).status_code == 200
    assert services.clouds.calls["keys"] == 2


async def test_a_forged_token_keeps_no_true_one_waiting(
    client: httpx.AsyncClient, services: TokenServices, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the keys are fetched again, because it names one that nobody has."""
    google, fetching = services.clouds.issuers[GOOGLE], asyncio.Event()
    await client.post("/v1/push/gcs", json=PUBSUB, headers=oidc(services))
    await clock.advance(61)

    async def fetch(request: TokenRequest) -> bytes:
        fetching.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(push_tokens, "request_token", fetch)
    forged = oidc(services, Issuer(GOOGLE, google.clock, "no-1"))
    waiting = asyncio.create_task(client.post("/v1/push/gcs", json=PUBSUB, headers=forged))
    await fetching.wait()
    async with asyncio.timeout(30):
        assert (await client.post("/v1/push/gcs", json=PUBSUB, headers=oidc(services))).status_code == 200
    waiting.cancel()
    await asyncio.wait({waiting})


async def test_the_provider_is_asked_to_retry_while_the_keys_cannot_be_fetched(
    client: httpx.AsyncClient, services: TokenServices
) -> None:
    services.clouds.failures.append(ServiceFailure("keys", 500))
    problem(await client.post("/v1/push/gcs", json=PUBSUB, headers=oidc(services)), 503, "service-unavailable")
    assert (await client.post("/v1/push/gcs", json=PUBSUB, headers=oidc(services))).status_code == 200


async def test_an_endpoint_that_is_not_configured_is_none(client: httpx.AsyncClient) -> None:
    problem(await client.post("/v1/push/nowhere", json=PUBSUB), 404, "not-found")


# Event Grid


def entra(services: TokenServices, **others: Any) -> dict[str, str]:
    claims = {"audience": "api://ferry", "appid": EVENT_GRID, "tid": TENANT, **others}
    return bearer(services.clouds.issuers[ENTRA].token("object-id", **claims))


async def test_event_grid_shakes_hands_and_pushes(
    client: httpx.AsyncClient, service: Service, services: TokenServices
) -> None:
    validation = [{"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "512d"}}]
    headers = {**entra(services), "aeg-event-type": "SubscriptionValidation"}
    response = await client.post("/v1/push/blobs", json=validation, headers=headers)
    assert (response.status_code, response.json()) == (200, {"validationResponse": "512d"})
    assert service.accepted == []
    body = json.dumps(CLOUD_EVENT).encode()
    headers = {**entra(services), "content-type": "application/cloudevents-batch+json; charset=utf-8"}
    assert (await client.post("/v1/push/blobs", content=body, headers=headers)).status_code == 200
    assert [m.body for _, m in service.accepted] == [body]


@pytest.mark.parametrize("kind", ["SubscriptionDeletion", "Unsubscribe"])
async def test_the_end_of_a_subscription_is_no_message(
    kind: str, client: httpx.AsyncClient, service: Service, services: TokenServices
) -> None:
    """It would become a dead letter."""
    ended = [{"eventType": "Microsoft.EventGrid.SubscriptionDeletedEvent", "data": {"eventSubscriptionId": "/x"}}]
    response = await client.post("/v1/push/blobs", json=ended, headers={**entra(services), "aeg-event-type": kind})
    assert (response.status_code, service.accepted) == (200, [])


async def test_only_an_authenticated_client_completes_the_handshake(client: httpx.AsyncClient) -> None:
    validation = [{"data": {"validationCode": "512d"}}]
    headers = {"aeg-event-type": "SubscriptionValidation"}
    for path in ("/v1/push/blobs", "/v1/push/azure"):
        problem(await client.post(path, json=validation, headers=headers), 401, "not-authentic")


async def test_a_handshake_without_its_code_is_refused(client: httpx.AsyncClient) -> None:
    headers = {"aeg-event-type": "SubscriptionValidation"}
    bodies: list[object] = [[], {}, [{"data": 7}], 7]
    for body in bodies:
        response = await client.post(f"/v1/push/azure?secret={SECRET}", json=body, headers=headers)
        problem(response, 400, "invalid-request")


@pytest.mark.parametrize(
    ("others", "status"),
    [
        ({"appid": "another"}, 403),
        ({"audience": "api://other"}, 401),
        ({"iss": "https://sts.windows.net/other-tenant/"}, 401),
        ({"life": -120.0}, 401),
    ],
)
async def test_a_token_of_entra_must_be_event_grids(
    others: dict[str, Any], status: int, client: httpx.AsyncClient, service: Service, services: TokenServices
) -> None:
    response = await client.post("/v1/push/blobs", json=CLOUD_EVENT, headers=entra(services, **others))
    problem(response, status, "not-authentic")
    assert service.accepted == []


async def test_a_token_of_entras_second_version_is_read(client: httpx.AsyncClient, services: TokenServices) -> None:
    issuer = f"https://login.microsoftonline.com/{TENANT}/v2.0"
    token = services.clouds.issuers[ENTRA].token("object-id", "api://ferry", iss=issuer, azp=EVENT_GRID)
    assert (await client.post("/v1/push/blobs", json=CLOUD_EVENT, headers=bearer(token))).status_code == 200


async def test_cloud_events_ask_whether_they_may(client: httpx.AsyncClient) -> None:
    """CloudEvents 1.0, "HTTP 1.1 Web Hooks", section 4."""
    headers = {"WebHook-Request-Origin": "eventgrid.azure.net"}
    response = await client.options("/v1/push/blobs", headers=headers)
    assert response.status_code == 200
    assert response.headers["webhook-allowed-origin"] == "eventgrid.azure.net"
    assert response.headers["webhook-allowed-rate"] == "*"
    for path, origin in (
        ("/v1/push/blobs", "evil.example"),
        ("/v1/push/blobs", ""),
        ("/v1/push/ceph", "eventgrid.azure.net"),
        ("/v1/push/nowhere", "eventgrid.azure.net"),
    ):
        response = await client.options(path, headers={"WebHook-Request-Origin": origin})
        problem(response, 403, "foreign-origin")
        assert "webhook-allowed-origin" not in response.headers


# Secrets


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/push/ceph", bearer(SECRET)),
        (f"/v1/push/ceph?secret={SECRET}", {}),
        (f"/v1/push/ceph/{SECRET}", {}),
    ],
)
async def test_a_secret_opens_by_header_path_or_query_whatever_the_media_type(
    path: str, headers: dict[str, str], client: httpx.AsyncClient, service: Service
) -> None:
    body = b'{"Records": []}'
    headers = {**headers, "content-type": "application/x-www-form-urlencoded"}
    assert (await client.post(path, content=body, headers=headers)).status_code == 200
    assert [(queue, m.body) for queue, m in service.accepted] == [("second", body)]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/push/ceph", {}),
        ("/v1/push/ceph?secret=", {}),
        (f"/v1/push/ceph?secret={SECRET}x", {}),
        (f"/v1/push/ceph/{SECRET[:-1]}", {}),
        ("/v1/push/ceph", bearer("wrong")),
        (f"/v1/push/ceph?secret={SECRET}", bearer("wrong")),
        ("/v1/push/ceph", {"authorization": f"Basic {SECRET}"}),
        ("/v1/push/ceph?secret=%C3%BC", {}),
    ],
)
async def test_a_wrong_secret_opens_nothing(
    path: str, headers: dict[str, str], client: httpx.AsyncClient, service: Service
) -> None:
    response = await client.post(path, content=b"{}", headers=headers)
    problem(response, 401, "not-authentic")
    assert SECRET not in response.text
    assert service.accepted == []


async def test_a_push_over_the_limit_is_refused_unread(client: httpx.AsyncClient, service: Service) -> None:
    response = await client.post("/v1/push/ceph", content=bytes(2**20 + 1), headers=bearer(SECRET))
    problem(response, 413, "body-too-large")
    assert service.accepted == []
