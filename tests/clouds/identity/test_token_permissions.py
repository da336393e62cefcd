"""The policies against what identities ask the clouds' token services (strict stand-ins) for, to be somebody elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.policy.granted import Grant, missing, of_aws, of_google, spare
from tests.policy.lab import settings

from skyferry.clouds.identity.build import IdentityContext, aws_credentials, azure_token, google_token
from skyferry.config.identity import IdentitySettings
from skyferry.policy import aws, google
from skyferry.policy.needs import RequiredAccess, required_access
from skyferry.testing.identity import TokenServices
from skyferry.testing.identity.aws import build_environment
from skyferry.testing.identity.clouds import ACCOUNT, CLIENT, POOL, PROJECT, PROVIDER, RESOURCE, ROLE, TENANT
from skyferry.testing.permissions import Ask
from skyferry.testing.permissions import aws as at_aws
from skyferry.testing.permissions import google as at_google
from skyferry.testing.servers.proxy import FaultProxy

HERE = ("GetWebIdentityToken", "getOpenIdToken", "getAccessToken")


@pytest.fixture
async def heard(services: TokenServices) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(services.url) as proxy:
        yield proxy


@pytest.fixture
def machine(
    services: TokenServices, heard: FaultProxy, around: IdentityContext, monkeypatch: pytest.MonkeyPatch
) -> IdentityContext:
    """It has a role at AWS, and a service account at Google."""
    for name, value in build_environment(*services.clouds.grants.key(ROLE)).items():
        monkeypatch.setenv(name, value)
    return replace(around, env={**around.env, "AWS_ENDPOINT_URL_STS": f"{heard.url}/aws/"})


def federated(**more: str) -> dict[str, Any]:
    names = {"role_arn": ROLE, "project": PROJECT, "pool": POOL, "provider": PROVIDER}
    return {"kind": "federated", "tenant_id": TENANT, "client_id": CLIENT, **names, **more}


def needed(folder: Path, url: str, identity: dict[str, Any]) -> RequiredAccess:
    """Of a route from a folder."""
    stores = {"a": {"url": "file://a"}, "b": {"url": url, "identity": identity}}
    return required_access(settings(folder, {"stores": stores, "routes": [{"name": "r", "from": "a", "to": "b"}]}))


def of_tokens(grants: Iterable[Grant]) -> list[Grant]:
    """Those that are about tokens."""
    return [grant for grant in grants if grant.action.endswith(HERE)]


async def test_a_token_of_aws_for_azure(heard: FaultProxy, machine: IdentityContext, tmp_path: Path) -> None:
    """STS gives it to who may have it."""
    identity = federated(token="aws")
    found = needed(tmp_path, "az://account/container", identity)
    where = {"endpoint": f"{heard.url}/entra"}
    await azure_token(IdentitySettings.model_validate(identity | where), machine)()
    asked = {ask for each in heard.exchanges for ask in at_aws.list_token_asks(each)}
    grants = of_tokens(grant for policy in aws.policies(found) for grant in of_aws(policy))
    assert asked == {Ask("sts:GetWebIdentityToken", "*")}
    assert (missing(grants, asked), spare(grants, asked)) == ([], [])


@pytest.mark.parametrize("audience", ["", f"https:{RESOURCE}"])
async def test_a_service_account_for_an_identity_at_aws(
    heard: FaultProxy, machine: IdentityContext, tmp_path: Path, audience: str
) -> None:
    """A signed request costs no permission at AWS, a token one; to be the account one at Google."""
    identity = federated(token="aws", service_account=ACCOUNT, audience=audience, region="eu-west-1")
    found = needed(tmp_path, "gs://bucket", identity)
    where = {"endpoint": f"{heard.url}/google", "iam_endpoint": f"{heard.url}/google"}
    await google_token(IdentitySettings.model_validate(identity | where), machine)()
    asked = {
        ask for each in heard.exchanges for ask in (*at_aws.list_token_asks(each), *at_google.list_token_asks(each))
    }
    grants = of_tokens(grant for policy in aws.policies(found) for grant in of_aws(policy))
    grants += of_tokens(grant for policy in google.policies(found) for grant in of_google(policy))
    assert len(asked) == (2 if audience else 1)
    assert (missing(grants, asked), spare(grants, asked)) == ([], [])


@pytest.mark.parametrize("account", ["", ACCOUNT])
async def test_an_id_token_of_google_for_aws(
    services: TokenServices, heard: FaultProxy, machine: IdentityContext, tmp_path: Path, account: str
) -> None:
    """The machine's own is free, that of another account is not."""
    identity = federated(token="google", service_account=account)
    found = needed(tmp_path, "s3://bucket?region=eu-west-1", identity)
    where = {"endpoint": services.aws, "iam_endpoint": f"{heard.url}/google"}
    await aws_credentials(IdentitySettings.model_validate(identity | where), machine)()
    asked = {ask for each in heard.exchanges for ask in at_google.list_token_asks(each)}
    grants = of_tokens(grant for policy in google.policies(found) for grant in of_google(policy))
    assert {ask.action for ask in asked} == ({"iam.serviceAccounts.getOpenIdToken"} if account else set())
    assert (missing(grants, asked), spare(grants, asked)) == ([], [])
