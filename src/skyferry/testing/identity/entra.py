"""Microsoft Entra's token endpoint, and the managed identity of a machine."""

from __future__ import annotations

from aiohttp import web

from skyferry.testing.identity.clouds import AWS, CLIENT, ENTRA, ENTRA_AUDIENCE, GOOGLE, KUBERNETES, TENANT, Clouds
from skyferry.testing.identity.grants import Grant
from skyferry.testing.identity.issuer import TokenRefused

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
NO_MATCH = "No matching federated identity record found for presented assertion"
REASONS = {  # as Entra says it
    "malformed": "AADSTS50027: JWT token is invalid or malformed.",
    "issuer": f"AADSTS700211: {NO_MATCH} issuer.",
    "signature": "AADSTS700027: Client assertion failed signature validation.",
    "audience": f"AADSTS700212: {NO_MATCH} audience.",
    "expired": "AADSTS700024: Client assertion is not within its valid time range.",
    "subject": f"AADSTS700213: {NO_MATCH} subject.",
}


async def answer_token(clouds: Clouds, request: web.Request) -> web.Response:
    """POST /TENANT/oauth2/v2.0/token."""
    form = {name: str(value) for name, value in (await request.post()).items()}
    if request.match_info["tenant"] != TENANT:
        return _refused("invalid_request", "AADSTS90002: Tenant not found.")
    if form.get("grant_type") != "client_credentials" or form.get("client_assertion_type") != ASSERTION:
        return _refused("unsupported_grant_type", "AADSTS70003: The app requested an unsupported grant type.")
    if form.get("client_id") != CLIENT:
        return _refused("unauthorized_client", "AADSTS700016: Application was not found in the directory.")
    if not form.get("scope", "").endswith("/.default"):
        return _refused("invalid_scope", "AADSTS1002012: The provided value for scope is not valid.")
    try:
        clouds.trust(GOOGLE, KUBERNETES, AWS, audiences=(ENTRA_AUDIENCE,)).claims(form.get("client_assertion", ""))
    except TokenRefused as refused:
        return _refused("invalid_client", REASONS[refused.reason], 401)
    given = _access(clouds, form["scope"].removesuffix("/.default"))
    return web.json_response({"token_type": "Bearer", "expires_in": round(clouds.grants.life), "access_token": given})


async def answer_managed_identity(clouds: Clouds, request: web.Request) -> web.Response:
    """Answer as App Service, Functions and Container Apps do (IDENTITY_ENDPOINT, IDENTITY_HEADER)."""
    if request.headers.get("x-identity-header") != "machine":
        return web.json_response({"statusCode": 403, "message": "who are you?"}, status=403)
    given = _access(clouds, request.query["resource"])
    end = str(round(clouds.clock() + clouds.grants.life))
    answer = {"access_token": given, "expires_on": end, "resource": request.query["resource"], "token_type": "Bearer"}
    return web.json_response({**answer, "client_id": CLIENT})


def _access(clouds: Clouds, audience: str) -> str:
    """Entra's access tokens are tokens that others can check."""
    given = clouds.issuers[ENTRA].token(CLIENT, audience, life=clouds.grants.life, appid=CLIENT, tid=TENANT)
    clouds.grants.all[given] = Grant(CLIENT, clouds.clock() + clouds.grants.life)
    return given


def _refused(error: str, description: str, status: int = 400) -> web.Response:
    return web.json_response({"error": error, "error_description": description}, status=status)
