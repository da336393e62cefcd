"""Checks signatures of AWS requests (Signature Version 4) against the keys that were granted."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from botocore.auth import SigV4Auth  # type: ignore[import-untyped]  # no stubs are published with it
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]  # as above
from botocore.credentials import Credentials  # type: ignore[import-untyped]  # as above

from skyferry.testing.identity.grants import Grants
from skyferry.testing.identity.issuer import TokenRefused

AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<day>\d{8})/(?P<region>[^/]+)/sts/aws4_request, ?"
    r"SignedHeaders=(?P<names>[^,]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
SKEW = 900.0  # seconds


def find_signer(grants: Grants, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> str:
    """Return the identity that signed a request to STS. Raises TokenRefused."""
    lower = {name.lower(): value for name, value in headers.items()}
    match = AUTHORIZATION.fullmatch(lower.get("authorization", ""))
    if match is None:
        raise TokenRefused("malformed")
    grant = grants.valid(match["key"])
    if grant is None or not hmac.compare_digest(lower.get("x-amz-security-token", ""), grant.session):
        raise TokenRefused("expired")
    stamp = lower.get("x-amz-date", "")
    signed_at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    if abs(signed_at - grants.clock()) > SKEW:
        raise TokenRefused("expired")
    names = match["names"].split(";")
    if not {"host", "x-amz-date", "x-amz-security-token"} <= set(names):
        raise TokenRefused("signature")
    request = AWSRequest(method, url, headers={name: lower.get(name, "") for name in names}, data=body)
    request.context["timestamp"] = stamp
    auth = SigV4Auth(Credentials(match["key"], grant.secret, grant.session), "sts", match["region"])
    expected = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    if not hmac.compare_digest(expected, match["signature"]):
        raise TokenRefused("signature")
    return grant.principal
