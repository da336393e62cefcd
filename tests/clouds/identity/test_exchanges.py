"""Federation in every direction, against services that check what they are given; and each refusal with its hint."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tests.clouds.identity.conftest import Federated

from skyferry.clouds.identity.build import IdentityContext, aws_credentials, azure_token, google_token
from skyferry.config.identity import IdentitySettings
from skyferry.errors import IdentityRefused, SkyferryError, StoreUnavailable, Throttled
from skyferry.testing.clock import ManualClock
from skyferry.testing.identity import ServiceFailure, TokenServices
from skyferry.testing.identity.aws import build_environment
from skyferry.testing.identity.clouds import (
    ACCOUNT,
    APPLICATION,
    AWS_AUDIENCE,
    CLIENT,
    ENTRA_AUDIENCE,
    KUBERNETES,
    POD,
    RESOURCE,
    ROLE,
)

PodToken = Callable[..., Path]
GOOGLE_AUDIENCE = f"https:{RESOURCE}"


@pytest.fixture
def instance(services: TokenServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine runs at AWS: the SDK's chain finds a role's keys."""
    for name, value in build_environment(*services.clouds.grants.key(ROLE)).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def app_service(services: TokenServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine runs at Azure: it has a managed identity."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{services.url}/entra/managed")
    monkeypatch.setenv("IDENTITY_HEADER", "machine")


async def principal(services: TokenServices, name: str) -> str:
    grant = services.clouds.grants.valid(name)
    assert grant is not None, "the token is not one that was given"
    return grant.principal


# To AWS


async def test_from_google_to_aws(services: TokenServices, federated: Federated, around: IdentityContext) -> None:
    credentials = await aws_credentials(federated(services.aws, token="google", service_account=""), around)()
    assert await principal(services, credentials.access_key) == ROLE
    assert credentials.token == services.clouds.grants.all[credentials.access_key].session


async def test_from_google_to_aws_by_a_service_account_that_is_impersonated(
    services: TokenServices, federated: Federated, around: IdentityContext
) -> None:
    credentials = await aws_credentials(federated(services.aws, token="google", service_account=ACCOUNT), around)()
    assert await principal(services, credentials.access_key) == ROLE
    assert services.clouds.calls["iam"] == 1


async def test_from_kubernetes_to_aws(
    services: TokenServices, federated: Federated, around: IdentityContext, pod_token: PodToken
) -> None:
    settings = federated(services.aws, token_file=pod_token(AWS_AUDIENCE))
    assert await principal(services, (await aws_credentials(settings, around)()).access_key) == ROLE


@pytest.mark.usefixtures("app_service")
async def test_from_azure_to_aws(services: TokenServices, federated: Federated, around: IdentityContext) -> None:
    settings = federated(services.aws, token="azure", audience=AWS_AUDIENCE)
    assert await principal(services, (await aws_credentials(settings, around)()).access_key) == ROLE


async def test_from_a_pod_of_eks_by_the_chain_of_the_sdk(
    services: TokenServices, around: IdentityContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{services.url}/aws/pod")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-token")
    provider = aws_credentials(IdentitySettings(), around)
    first = await provider()
    assert await principal(services, first.access_key) == ROLE
    second = await provider(stale=first.access_key)  # what botocore keeps for itself is not given again
    assert await principal(services, second.access_key) == ROLE
    assert second.access_key != first.access_key


async def test_web_identity_by_the_chain_of_the_sdk(
    services: TokenServices, around: IdentityContext, pod_token: PodToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IRSA: what EKS sets in a pod."""
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(pod_token(AWS_AUDIENCE)))
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", services.aws)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    credentials = await aws_credentials(IdentitySettings(), around)()
    assert await principal(services, credentials.access_key) == ROLE
    assert services.clouds.calls["aws"] == 1


# To Google


@pytest.mark.usefixtures("instance")
@pytest.mark.parametrize(("account", "who"), [("", f"principal:{ROLE}"), (ACCOUNT, ACCOUNT)])
async def test_from_aws_to_google_by_a_signed_request(
    services: TokenServices, federated: Federated, around: IdentityContext, account: str, who: str
) -> None:
    settings = federated(services.google, token="aws", service_account=account, region="eu-west-1")
    assert await principal(services, await google_token(settings, around)()) == who


@pytest.mark.usefixtures("instance")
async def test_from_aws_to_google_by_a_token_of_aws(
    services: TokenServices, federated: Federated, around: IdentityContext
) -> None:
    outbound = replace(around, env={**around.env, "AWS_ENDPOINT_URL_STS": services.aws})
    settings = federated(services.google, token="aws", audience=GOOGLE_AUDIENCE)
    assert await principal(services, await google_token(settings, outbound)()) == f"principal:{ROLE}"


@pytest.mark.parametrize(("account", "who"), [("", f"principal:{POD}"), (ACCOUNT, ACCOUNT)])
async def test_from_kubernetes_to_google(
    services: TokenServices, federated: Federated, around: IdentityContext, pod_token: PodToken, account: str, who: str
) -> None:
    settings = federated(services.google, token_file=pod_token(GOOGLE_AUDIENCE), service_account=account)
    assert await principal(services, await google_token(settings, around)()) == who


@pytest.mark.usefixtures("app_service")
async def test_from_azure_to_google(services: TokenServices, federated: Federated, around: IdentityContext) -> None:
    settings = federated(services.google, token="azure", audience=APPLICATION)
    assert await principal(services, await google_token(settings, around)()) == f"principal:{CLIENT}"


async def test_from_whatever_answers_with_a_token_to_google(
    services: TokenServices, federated: Federated, around: IdentityContext
) -> None:
    services.clouds.tokens["build"] = services.clouds.issuers[KUBERNETES].token(POD, GOOGLE_AUDIENCE)
    settings = federated(services.google, token="url", token_url=f"{services.url}/tokens/build")
    assert await principal(services, await google_token(settings, around)()) == f"principal:{POD}"


async def test_the_service_account_of_a_machine_at_google(services: TokenServices, around: IdentityContext) -> None:
    assert await principal(services, await google_token(IdentitySettings(), around)()) == ACCOUNT


@pytest.mark.parametrize(("account", "who"), [("", f"principal:{POD}"), (ACCOUNT, ACCOUNT)])
async def test_application_default_credentials_of_an_external_account(
    services: TokenServices, around: IdentityContext, pod_token: PodToken, tmp_path: Path, account: str, who: str
) -> None:
    """The file that `gcloud iam workload-identity-pools create-cred-config` writes, read by google-auth."""
    config = {
        "type": "external_account",
        "audience": RESOURCE,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{services.google}/v1/token",
        "credential_source": {"file": str(pod_token(GOOGLE_AUDIENCE))},
    }
    if account:
        url = f"{services.google}/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
        config["service_account_impersonation_url"] = url
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    here = replace(around, env={"GOOGLE_APPLICATION_CREDENTIALS": str(path)})
    assert await principal(services, await google_token(IdentitySettings(), here)()) == who


# To Azure


async def test_from_google_to_azure(services: TokenServices, federated: Federated, around: IdentityContext) -> None:
    settings = federated(services.entra, token="google")
    assert await principal(services, await azure_token(settings, around)()) == CLIENT


@pytest.mark.usefixtures("instance")
async def test_from_aws_to_azure(services: TokenServices, federated: Federated, around: IdentityContext) -> None:
    outbound = replace(around, env={**around.env, "AWS_ENDPOINT_URL_STS": services.aws})
    settings = federated(services.entra, token="aws")
    assert await principal(services, await azure_token(settings, outbound)()) == CLIENT


async def test_workload_identity_of_a_pod_at_azure(
    services: TokenServices, around: IdentityContext, pod_token: PodToken, federated: Federated
) -> None:
    settings = federated(services.entra)
    env = {
        "AZURE_TENANT_ID": settings.tenant_id,
        "AZURE_CLIENT_ID": settings.client_id,
        "AZURE_FEDERATED_TOKEN_FILE": str(pod_token(ENTRA_AUDIENCE)),
        "AZURE_AUTHORITY_HOST": services.entra,
    }
    assert await principal(services, await azure_token(IdentitySettings(), replace(around, env=env))()) == CLIENT


@pytest.mark.usefixtures("app_service")
async def test_managed_identity_at_azure(services: TokenServices, around: IdentityContext) -> None:
    provider = azure_token(IdentitySettings(), around)
    first = await provider()
    assert await principal(services, first) == CLIENT
    assert services.clouds.calls["metadata"] == 1


# Refused


BAD: Mapping[str, Mapping[str, object]] = {
    "forged": {"forged": True},
    "expired": {"life": -120.0},
    "somebody else's": {"subject": "system:serviceaccount:other:pod"},
}
HINTS = {
    ("aws", "forged"): "OIDC identity provider",
    ("aws", "expired"): "clock",
    ("aws", "somebody else's"): "trust policy",
    ("google", "forged"): "issuer that is trusted",
    ("google", "expired"): "clock",
    ("google", "somebody else's"): "attribute condition",
    ("azure", "forged"): "issuer that is trusted",
    ("azure", "expired"): "clock",
    ("azure", "somebody else's"): "federated credential",
}
AUDIENCES = {"aws": AWS_AUDIENCE, "google": GOOGLE_AUDIENCE, "azure": ENTRA_AUDIENCE}


async def ask(cloud: str, settings: IdentitySettings, around: IdentityContext) -> object:
    builders = {"aws": aws_credentials, "google": google_token, "azure": azure_token}
    return await builders[cloud](settings, around)()  # type: ignore[operator]  # of three types


def endpoint(cloud: str, services: TokenServices) -> str:
    return {"aws": services.aws, "google": services.google, "azure": services.entra}[cloud]


@pytest.mark.parametrize("how", list(BAD))
@pytest.mark.parametrize("cloud", list(AUDIENCES))
async def test_a_token_that_is_refused_says_what_to_do(
    cloud: str, how: str, services: TokenServices, federated: Federated, around: IdentityContext, pod_token: PodToken
) -> None:
    path = pod_token(AUDIENCES[cloud], **BAD[how])
    with pytest.raises(IdentityRefused) as caught:
        await ask(cloud, federated(endpoint(cloud, services), token_file=path), around)
    assert HINTS[cloud, how] in caught.value.hint
    assert path.read_text().strip() not in str(caught.value)


@pytest.mark.parametrize(("cloud", "hint"), [("aws", "audience"), ("google", "audience"), ("azure", "audience")])
async def test_a_token_for_another_audience_is_refused(
    cloud: str, hint: str, services: TokenServices, federated: Federated, around: IdentityContext, pod_token: PodToken
) -> None:
    with pytest.raises(IdentityRefused) as caught:
        await ask(cloud, federated(endpoint(cloud, services), token_file=pod_token("https://elsewhere")), around)
    assert hint in caught.value.hint


@pytest.mark.parametrize("cloud", list(AUDIENCES))
async def test_a_service_that_repeats_the_token_does_not_bring_it_into_an_error(
    cloud: str, services: TokenServices, federated: Federated, around: IdentityContext, pod_token: PodToken
) -> None:
    path = pod_token(AUDIENCES[cloud])
    body = '{"error": "invalid_grant", "error_description": "bad token {token}"}'
    name = {"aws": "aws", "google": "google", "azure": "entra"}[cloud]
    services.clouds.failures.append(ServiceFailure(name, 400, body))
    with pytest.raises(IdentityRefused, match=r"bad token \[secret\]") as caught:
        await ask(cloud, federated(endpoint(cloud, services), token_file=path), around)
    assert path.read_text().strip() not in repr(caught.value) + str(caught.value)


@pytest.mark.usefixtures("instance")
async def test_a_service_that_repeats_the_session_does_not_bring_it_into_an_error(
    services: TokenServices, federated: Federated, around: IdentityContext
) -> None:
    """As AWS does when a signature is wrong."""
    session = os.environ["AWS_SESSION_TOKEN"]
    said = f"should have been x-amz-security-token:{session}"
    body = f"<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>{said}</Message></Error></ErrorResponse>"
    services.clouds.failures.append(ServiceFailure("aws", 403, body))
    outbound = replace(around, env={**around.env, "AWS_ENDPOINT_URL_STS": services.aws})
    with pytest.raises(IdentityRefused, match=r"x-amz-security-token:\[secret\]") as caught:
        await azure_token(federated(services.entra, token="aws"), outbound)()
    assert session not in repr(caught.value) + str(caught.value)


async def test_an_account_that_may_not_be_impersonated_is_refused_with_a_hint(
    services: TokenServices, federated: Federated, around: IdentityContext, pod_token: PodToken
) -> None:
    settings = federated(services.google, token_file=pod_token(GOOGLE_AUDIENCE), service_account="other@project")
    with pytest.raises(IdentityRefused, match="workloadIdentityUser"):
        await google_token(settings, around)()


@pytest.mark.parametrize(("field", "hint"), [("pool", "project, pool and provider exist"), ("tenant_id", "tenant_id")])
async def test_what_does_not_exist_is_named(
    field: str, hint: str, services: TokenServices, federated: Federated, around: IdentityContext, pod_token: PodToken
) -> None:
    cloud = "google" if field == "pool" else "azure"
    settings = federated(endpoint(cloud, services), token_file=pod_token(AUDIENCES[cloud]), **{field: "wrong"})
    with pytest.raises(IdentityRefused, match=hint):
        await ask(cloud, settings, around)


@pytest.mark.parametrize(("status", "error"), [(429, Throttled), (500, StoreUnavailable), (503, StoreUnavailable)])
async def test_a_service_that_is_down_is_an_outage(
    status: int,
    error: type[Exception],
    services: TokenServices,
    federated: Federated,
    around: IdentityContext,
    clock: ManualClock,
) -> None:
    services.clouds.failures.append(ServiceFailure("aws", status))
    provider = aws_credentials(federated(services.aws, token="google"), around)
    with pytest.raises(error):
        await provider()
    await clock.advance(60)
    assert await principal(services, (await provider()).access_key) == ROLE


@pytest.mark.parametrize("status", [429, 503])
async def test_a_service_that_says_how_long_to_wait_is_left_alone_for_so_long(
    status: int, services: TokenServices, federated: Federated, around: IdentityContext, clock: ManualClock
) -> None:
    """As Entra does to one that asks too often."""
    services.clouds.failures.append(ServiceFailure("aws", status, headers={"retry-after": "300"}))
    provider = aws_credentials(federated(services.aws, token="google"), around)
    for left in (300.0, 100.0):
        with pytest.raises(SkyferryError) as told:
            await provider()
        assert told.value.retry_after == left
        await clock.advance(200)
    assert services.clouds.calls["aws"] == 1
    assert await principal(services, (await provider()).access_key) == ROLE


async def test_a_token_that_was_renewed_in_its_file_is_read_again(
    services: TokenServices, federated: Federated, around: IdentityContext, pod_token: PodToken, clock: ManualClock
) -> None:
    path = pod_token(AWS_AUDIENCE)
    provider = aws_credentials(federated(services.aws, token_file=path), around)
    first = await provider()
    await clock.advance(3600)
    pod_token(AWS_AUDIENCE)
    assert (await provider()).access_key != first.access_key
