"""Who a credential says we are."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from skyferry.clouds.azure import SharedKey
from skyferry.clouds.callers import aws_caller, azure_caller, google_caller, skew
from skyferry.clouds.credentials import S3Credentials, fixed_credentials
from skyferry.ports.inspection import Unknown
from skyferry.testing.identity import TokenServices
from skyferry.testing.identity.clouds import ROLE


async def test_sts_returns_the_owner_of_the_keys(services: TokenServices) -> None:
    """By a request that is signed: with another secret nobody is told anything, and it is no error."""
    key, grant = services.clouds.grants.key(ROLE)
    credentials = S3Credentials(key, grant.secret, grant.session)
    assert await aws_caller(fixed_credentials(credentials), "eu-west-1", services.aws) == ROLE
    forged = replace(credentials, secret_key="another")
    assert await aws_caller(fixed_credentials(forged), "eu-west-1", services.aws) == Unknown(
        "it has no STS that names the caller"
    )


async def test_an_sts_that_does_not_answer_is_no_error() -> None:
    told = await aws_caller(fixed_credentials(S3Credentials("a", "b")), "eu-west-1", "http://127.0.0.1:9")
    assert told == Unknown("its STS does not answer")


@pytest.mark.parametrize(
    ("answer", "status", "expected"),
    [
        ({"email": "a@b.iam.gserviceaccount.com", "azp": "1"}, 200, "a@b.iam.gserviceaccount.com"),
        ({"azp": "1", "aud": "1"}, 200, "1"),
        ({"error": "invalid_token"}, 400, Unknown("Google names only its own accounts")),
        ([], 200, Unknown("Google names only its own accounts")),
    ],
)
async def test_google_is_asked_with_the_token_out_of_sight(
    answer: object, status: int, expected: str | Unknown
) -> None:
    """In the body, not in a URL, which servers write into logs. No server of Google's at hand: this one says what it would."""
    seen: list[tuple[str, Mapping[str, Any]]] = []

    async def tell(request: web.Request) -> web.Response:
        seen.append((str(request.url), await request.post()))
        return web.json_response(answer, status=status)

    app = web.Application()
    app.router.add_post("/tokeninfo", tell)
    async with TestServer(app) as server:
        assert await google_caller(fixed_credentials("ya29.secret"), str(server.make_url("/tokeninfo"))) == expected
    [(url, form)] = seen
    assert "secret" not in url
    assert form["access_token"] == "ya29.secret"


async def test_without_a_token_no_request_is_made() -> None:
    assert await google_caller(fixed_credentials(""), "http://127.0.0.1:9") == "anonymous"
    assert await azure_caller(fixed_credentials("")) == "anonymous"


def token(**claims: object) -> str:
    """As Entra makes one, but for its signature."""
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{body}.signature"


async def test_a_token_of_entra_says_it_itself() -> None:
    """Application, object and tenant; a person by his name. What is no such token says nothing."""
    assert (
        await azure_caller(fixed_credentials(token(appid="a", oid="o", tid="t", x=1)))
        == "application a, object o, tenant t"
    )
    assert await azure_caller(fixed_credentials(token(upn="ada@example.org"))) == "ada@example.org"
    for broken in ("opaque", "a.b.c", token(oid=7), "a.!!.c"):
        assert await azure_caller(fixed_credentials(broken)) == Unknown("the token names no caller")


async def test_an_account_key_is_not_shown() -> None:
    told = await azure_caller(fixed_credentials(SharedKey("account", "c2VjcmV0")))
    assert told == "a key of the account account"


def test_a_clock_is_compared_to_the_second() -> None:
    """An answer without a date tells nothing."""
    found = skew({"date": "Thu, 01 Jan 1970 00:00:00 GMT"})
    assert isinstance(found, float)
    assert found < -1e9
    assert skew({}) == Unknown("the answer has no date")
    assert skew({"date": "yesterday"}) == Unknown("the answer has no date")
