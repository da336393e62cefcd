"""The stand-ins, and providers made as the wiring makes them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from skyferry.clouds.identity.build import IdentityContext
from skyferry.config.identity import IdentitySettings
from skyferry.testing.clock import ManualClock
from skyferry.testing.identity import Clouds, TokenServices, token_services
from skyferry.testing.identity.clouds import CLIENT, KUBERNETES, POD, POOL, PROJECT, PROVIDER, ROLE, TENANT


@pytest.fixture
def clock() -> ManualClock:
    """Begins now: tokens are checked by libraries that look at the machine's clock."""
    return ManualClock(time.time())


@pytest.fixture
async def services(clock: ManualClock) -> AsyncIterator[TokenServices]:
    async with token_services(Clouds(clock.time)) as running:
        yield running


Federated = Callable[..., IdentitySettings]


@pytest.fixture
def federated(services: TokenServices) -> Federated:
    """Settings that name everything the stand-ins know; a test says what differs."""

    def settings(endpoint: str, **others: object) -> IdentitySettings:
        names = {"role_arn": ROLE, "project": PROJECT, "pool": POOL, "provider": PROVIDER}
        azure = {"tenant_id": TENANT, "client_id": CLIENT}
        where = {"endpoint": endpoint, "iam_endpoint": services.google}
        token = {"token_file": "/nonexistent"}
        return IdentitySettings.model_validate({"kind": "federated", **names, **azure, **where, **token, **others})

    return settings


@pytest.fixture
def around(clock: ManualClock, services: TokenServices) -> IdentityContext:
    """A machine whose metadata servers are the stand-ins."""
    env = {"GCE_METADATA_HOST": services.host, "HOME": "/nonexistent"}
    return IdentityContext("store", clock, env)


@pytest.fixture
def pod_token(services: TokenServices, tmp_path: Path) -> Callable[..., Path]:
    """A file as Kubernetes projects it into a pod."""

    def write(audience: str, *, subject: str = POD, life: float = 600.0, forged: bool = False) -> Path:
        issuer = services.clouds.issuers[KUBERNETES]
        issuer = issuer.forger() if forged else issuer
        path = tmp_path / "token"
        path.write_text(issuer.token(subject, audience, life=life))
        return path

    return write
