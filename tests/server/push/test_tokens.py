"""TokenVerifier with odd parts are refused as any other, and forged ones make us ask for little."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from skyferry.errors import StoreUnavailable
from skyferry.server.problems import ApiError
from skyferry.server.push import tokens as push_tokens
from skyferry.server.push.tokens import TokenVerifier
from skyferry.testing.clock import ManualClock
from skyferry.testing.identity import Clouds, ServiceFailure, TokenServices, token_services
from skyferry.testing.identity.clouds import GOOGLE


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(time.time())


@pytest.fixture
async def services(clock: ManualClock) -> AsyncIterator[TokenServices]:
    async with token_services(Clouds(clock.time)) as running:
        yield running


@pytest.fixture
def tokens(services: TokenServices, clock: ManualClock) -> TokenVerifier:
    return TokenVerifier(f"{services.url}/keys/google", (GOOGLE,), "us", clock.time)


INFINITE, NAN = float("inf"), float("nan")
TIMES: list[tuple[str, list[object]]] = [
    ("exp", [INFINITE, NAN, 10**400, 10**15, "4e9", True, [5e9], -1]),
    ("iat", [-INFINITE, NAN, "1", 10**400]),
    ("nbf", [NAN, INFINITE, None, "1", {}]),
]


@pytest.mark.parametrize(
    "claims",
    [{name: value} for name, values in TIMES for value in values],
    ids=str,
)
async def test_a_time_that_no_calendar_has_is_refused(
    claims: dict[str, Any], tokens: TokenVerifier, services: TokenServices
) -> None:
    """JSON as Python reads it knows Infinity and NaN, and what is compared with NaN is false."""
    token = services.clouds.issuers[GOOGLE].token("me", "us", **claims)
    with pytest.raises(ApiError, match="an invalid time"):
        await tokens.verify(token)


@pytest.mark.parametrize(
    "header", ['{"alg":' + "[" * 5000, '{"alg":"RS256","kid":' + "9" * 9000 + "}", '{"kid":{}}', "[]", "7", "\xff"]
)
async def test_a_header_that_is_none_is_refused(header: str, tokens: TokenVerifier) -> None:
    encoded = base64.urlsafe_b64encode(header.encode("latin-1")).decode()
    with pytest.raises(ApiError, match="401"):
        await tokens.verify(f"{encoded}.e30.e30")


async def test_forged_tokens_make_few_requests_while_the_keys_cannot_be_fetched(
    tokens: TokenVerifier, services: TokenServices, clock: ManualClock
) -> None:
    token = services.clouds.issuers[GOOGLE].token("me", "us")
    services.clouds.failures.extend([ServiceFailure("keys", 500)] * 50)
    for _ in range(20):
        with pytest.raises(StoreUnavailable):
            await tokens.verify(token)
    assert services.clouds.calls["keys"] == push_tokens.FETCHES
    services.clouds.failures.clear()
    await clock.advance(push_tokens.REST)
    assert (await tokens.verify(token))["aud"] == "us"
