"""The identity at AWS: from its SDK, or a role that is assumed with a token of another cloud."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from skyferry.clouds.credentials import S3Credentials
from skyferry.clouds.identity.exchange import TokenRequest, make_refusal, request_token
from skyferry.clouds.identity.extras import require_extra
from skyferry.clouds.identity.policy import PREFERRED, accept_long_lived_key
from skyferry.clouds.identity.refreshing import IssuedCredentials, Obtain
from skyferry.clouds.identity.token_sources import TokenSource
from skyferry.clouds.regions import sts
from skyferry.errors import ConnectionLost, StoreUnavailable
from skyferry.frozen import dataclass

STS = "AWS STS"
GOOGLE_HEADER = "x-goog-cloud-target-resource"


@dataclass(frozen=True, slots=True)
class AssumedRole:
    """A role to assume."""

    arn: str
    session_name: str = "skyferry"  # in CloudTrail
    lifetime: float = 3600.0  # seconds; the role's own maximum is an upper bound
    region: str = "us-east-1"
    endpoint: str = ""  # of STS; "" = AWS's in the region

    @property
    def url(self) -> str:
        """The URL of STS."""
        return self.endpoint or sts(self.region)


def assume_role(role: AssumedRole, source: TokenSource) -> Obtain[S3Credentials]:
    """AssumeRoleWithWebIdentity: credentials of the role for a token that its trust policy takes. Nothing is signed.

    https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
    """

    async def obtain() -> IssuedCredentials[S3Credentials]:
        token = await source()
        form = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": role.arn,
            "RoleSessionName": role.session_name,
            "DurationSeconds": str(round(role.lifetime)),
            "WebIdentityToken": token,
        }
        return _assumed(await request_token(TokenRequest(role.url, STS, form=form, secrets=(token,))))

    return obtain


def _assumed(body: bytes) -> IssuedCredentials[S3Credentials]:
    """Parse the credentials in a response of STS."""
    try:
        found = ElementTree.fromstring(body).find(".//{*}Credentials")  # noqa: S314 - AWS over TLS, of 2xx
    except ElementTree.ParseError as broken:
        raise StoreUnavailable("the answer is not XML", where=STS) from broken
    if found is None:
        raise StoreUnavailable("the answer has no credentials", where=STS)
    key, secret, token, end = (
        found.findtext(f"{{*}}{name}", "") for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
    )
    if not (key and secret and token and end):
        raise StoreUnavailable("the answer's credentials are not whole", where=STS)
    return IssuedCredentials(S3Credentials(key, secret, token), key, datetime.fromisoformat(end).timestamp())


def botocore_chain(*, accept_keys: bool = False) -> Obtain[S3Credentials]:
    """Get credentials from botocore: environment, profiles, web identity, IRSA, pod identity, instance and container roles, SSO.

    Long-lived keys are refused, or used with a warning if `accept_keys`.

    Each call uses a new session, for botocore may cache credentials that a service has just called expired.
    """

    async def obtain() -> IssuedCredentials[S3Credentials]:
        return await asyncio.to_thread(_found, accept_keys)

    return obtain


def _session() -> Any:
    """A botocore session that may block."""
    with require_extra("s3", "the identity of this machine at AWS"):
        import botocore.session  # type: ignore[import-untyped]  # no stubs are published with it
    return botocore.session.get_session()


def _found(accept_keys: bool) -> IssuedCredentials[S3Credentials]:
    session = _session()
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError  # type: ignore[import-untyped]  # as above
    from botocore.exceptions import ConnectionError as Unreachable

    try:
        credentials = session.get_credentials()
        frozen = credentials.get_frozen_credentials() if credentials else None
    except (HTTPClientError, Unreachable) as broken:
        raise ConnectionLost(type(broken).__name__, where="AWS credentials") from broken
    except (BotoCoreError, ClientError) as error:
        raise make_refusal(str(error), "AWS credentials") from None
    if frozen is None or not frozen.access_key:
        hint = f"log in ({PREFERRED['aws']}), or {FIND}" if accept_keys else FIND
        raise make_refusal("this machine has no identity at AWS", "AWS credentials", hint=hint)
    if not frozen.token:
        accept_long_lived_key("aws", f"the access key that botocore found ({credentials.method})", accept_keys)
    end = getattr(credentials, "_expiry_time", None)  # botocore has no public attribute for it
    expires = end.timestamp() if isinstance(end, datetime) else float("inf")
    return IssuedCredentials(
        S3Credentials(frozen.access_key, frozen.secret_key, frozen.token or ""), frozen.access_key, expires
    )


FIND = (
    "give the machine a role (and its metadata a hop limit of 2, if this is a container), or set identity: {kind: federated, ...}: "
    "see docs/how-to/identity.md"
)


def token_from_aws(identity: Obtain[S3Credentials], audience: str, region: str, endpoint: str = "") -> TokenSource:
    """A token of AWS STS for another cloud (GetWebIdentityToken; outbound federation is enabled once per account).

    https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html
    """

    async def give() -> str:
        return await asyncio.to_thread(_issued, (await identity()).value, audience, region, endpoint)

    return give


def _issued(credentials: S3Credentials, audience: str, region: str, endpoint: str) -> str:
    session = _session()
    from botocore.exceptions import BotoCoreError, ClientError

    session.set_credentials(credentials.access_key, credentials.secret_key, credentials.token or None)
    try:
        client = session.create_client("sts", region_name=region, endpoint_url=endpoint or None)
        answer = client.get_web_identity_token(Audience=[audience], SigningAlgorithm="RS256", DurationSeconds=300)
    except (BotoCoreError, ClientError) as error:
        raise make_refusal(str(error), STS, (credentials.secret_key, credentials.token)) from None
    client.close()
    return str(answer["WebIdentityToken"])


def sign_identity(identity: Obtain[S3Credentials], audience: str, region: str) -> TokenSource:
    """Return a signed GetCallerIdentity request, which proves the identity at AWS to Google's STS. It is not sent.

    https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token (aws4_request)
    """

    async def give() -> str:
        return sign_caller_identity((await identity()).value, audience, region)

    return give


def sign_caller_identity(credentials: S3Credentials, audience: str, region: str) -> str:
    """Return the signed request in Google's form."""
    with require_extra("s3", "the identity of AWS at Google"):
        from botocore.auth import SigV4Auth  # type: ignore[import-untyped]  # no stubs are published with it
        from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]  # as above
        from botocore.credentials import Credentials  # type: ignore[import-untyped]  # as above
    url = f"{sts(region).rstrip('/')}?Action=GetCallerIdentity&Version=2011-06-15"
    request = AWSRequest("POST", url, headers={GOOGLE_HEADER: audience, "host": sts(region).split("/")[2]})
    SigV4Auth(Credentials(credentials.access_key, credentials.secret_key, credentials.token), "sts", region).add_auth(
        request
    )
    headers: Mapping[str, str] = dict(request.headers.items())
    listed = [{"key": name, "value": value} for name, value in headers.items()]
    return quote(json.dumps({"url": url, "method": "POST", "headers": listed}))
