"""Google's STS, IAM credentials and metadata server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import unquote

from aiohttp import web

from skyferry.testing.identity.clouds import (
    ACCOUNT,
    ACCOUNT_ID,
    APPLICATION,
    AWS,
    ENTRA,
    GOOGLE,
    KUBERNETES,
    RESOURCE,
    Clouds,
)
from skyferry.testing.identity.issuer import TokenRefused
from skyferry.testing.identity.sigv4 import find_signer

TYPE = "urn:ietf:params:oauth:token-type:"
AWS4 = "urn:ietf:params:aws:token-type:aws4_request"
REASONS = {  # as Google says it
    "malformed": ("invalid_grant", "Invalid JWT format"),
    "issuer": ("invalid_grant", "The issuer in ID Token does not match the expected ones"),
    "signature": ("invalid_grant", "Invalid JWT Signature"),
    "audience": ("invalid_grant", "The audience in ID Token does not match the expected audience"),
    "expired": ("invalid_grant", "ID Token issued at that time is stale to sign-in"),
    "subject": ("unauthorized_client", "The given credential is rejected by the attribute condition"),
}


async def answer_sts(clouds: Clouds, request: web.Request) -> web.Response:
    """POST /v1/token."""
    form = {name: str(value) for name, value in (await request.post()).items()}
    if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange":
        return _refused("unsupported_grant_type", "grant_type")
    if form.get("requested_token_type") != f"{TYPE}access_token" or not form.get("scope"):
        return _refused("invalid_request", "requested_token_type, scope")
    if form.get("audience") != RESOURCE:
        return _refused("invalid_target", "The target service indicated by the audience parameter is invalid.")
    try:
        principal = _subject(clouds, form.get("subject_token_type", ""), form.get("subject_token", ""))
    except TokenRefused as refused:
        return _refused(*REASONS[refused.reason])
    answer = {"access_token": clouds.grants.token(f"principal:{principal}"), "issued_token_type": f"{TYPE}access_token"}
    return web.json_response({**answer, "token_type": "Bearer", "expires_in": round(clouds.grants.life)})


def _subject(clouds: Clouds, kind: str, token: str) -> str:
    """Return the subject of a token. Raises TokenRefused."""
    if kind in (f"{TYPE}jwt", f"{TYPE}id_token"):
        trust = clouds.trust(KUBERNETES, ENTRA, AWS, audiences=(f"https:{RESOURCE}", APPLICATION))
        return str(trust.claims(token)["sub"])
    if kind != AWS4:
        raise TokenRefused("malformed")
    try:
        signed = json.loads(unquote(token))
        headers = {str(each["key"]).lower(): str(each["value"]) for each in signed["headers"]}
        method, url = str(signed["method"]), str(signed["url"])
    except (ValueError, KeyError, TypeError) as broken:
        raise TokenRefused("malformed") from broken
    if headers.get("x-goog-cloud-target-resource") != RESOURCE:
        raise TokenRefused("audience")
    if "x-goog-cloud-target-resource" not in headers.get("authorization", ""):  # not among what was signed
        raise TokenRefused("signature")
    return find_signer(clouds.grants, method, url, headers)


async def answer_service_account(clouds: Clouds, request: web.Request) -> web.Response:
    """POST /v1/projects/-/serviceAccounts/EMAIL:generateAccessToken or :generateIdToken."""
    email, _, verb = request.match_info["account"].partition(":")
    if clouds.grants.valid(request.headers.get("authorization", "").removeprefix("Bearer ")) is None:
        return _error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
    if email != ACCOUNT:
        permission = "iam.serviceAccounts.getAccessToken"
        return _error(403, "PERMISSION_DENIED", f"Permission '{permission}' denied on resource (or it may not exist).")
    body: Mapping[str, object] = await request.json()
    if verb == "generateIdToken" and body.get("audience"):
        return web.json_response({"token": _id_token(clouds, str(body["audience"]))})
    if verb == "generateAccessToken" and body.get("scope"):
        token = clouds.grants.token(email)
        end = datetime.fromtimestamp(clouds.grants.all[token].expires, UTC)
        return web.json_response({"accessToken": token, "expireTime": end.strftime("%Y-%m-%dT%H:%M:%SZ")})
    return _error(400, "INVALID_ARGUMENT", verb)


async def answer_metadata(clouds: Clouds, request: web.Request) -> web.Response:
    """GET .../service-accounts/default/token or /identity."""
    if request.headers.get("metadata-flavor") != "Google":
        return web.Response(status=403, text="Missing Metadata-Flavor:Google header.")
    if request.path.endswith("/identity"):
        return web.Response(text=_id_token(clouds, request.query["audience"]))
    answer = {"access_token": clouds.grants.token(ACCOUNT), "token_type": "Bearer"}
    return web.json_response({**answer, "expires_in": round(clouds.grants.life)})


def _id_token(clouds: Clouds, audience: str) -> str:
    return clouds.issuers[GOOGLE].token(ACCOUNT_ID, audience, azp=ACCOUNT_ID, email=ACCOUNT, email_verified=True)


def _refused(error: str, description: str) -> web.Response:
    return web.json_response({"error": error, "error_description": description}, status=400)


def _error(status: int, name: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": status, "message": message, "status": name}}, status=status)
