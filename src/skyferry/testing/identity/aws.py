"""AWS's STS, and the credentials endpoint of a pod (EKS pod identity), as its SDK asks them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import escape

from aiohttp import web

from skyferry.testing.identity.clouds import AWS, AWS_AUDIENCE, ENTRA, GOOGLE, KUBERNETES, ROLE, Clouds
from skyferry.testing.identity.grants import Grant
from skyferry.testing.identity.issuer import TokenRefused
from skyferry.testing.identity.sigv4 import find_signer

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
REASONS = {  # as AWS says it
    "malformed": (400, "InvalidIdentityToken", "The ID Token provided is not a valid JWT."),
    "issuer": (400, "InvalidIdentityToken", "No OpenIDConnect provider found in your account for the issuer"),
    "signature": (400, "InvalidIdentityToken", "The signature of the ID Token is invalid"),
    "audience": (400, "InvalidIdentityToken", "Incorrect token audience"),
    "expired": (
        400,
        "ExpiredTokenException",
        "Token expired: current date/time must be before the expiration date/time",
    ),
    "subject": (403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"),
}


async def answer_sts(clouds: Clouds, request: web.Request) -> web.Response:
    """POST of the query protocol."""
    form = {name: str(value) for name, value in (await request.post()).items()}
    if form.get("Version") != "2011-06-15":
        return _error(400, "NoSuchVersion", "Version")
    match form.get("Action"):
        case "AssumeRoleWithWebIdentity":
            return _assume(clouds, form)
        case "GetWebIdentityToken":
            return _issue(clouds, request, form, await request.read())
        case "GetCallerIdentity":
            return _caller(clouds, request, await request.read())
    return _error(400, "InvalidAction", form.get("Action", ""))


def _assume(clouds: Clouds, form: dict[str, str]) -> web.Response:
    if not re.fullmatch(r"[\w+=,.@-]{2,64}", form.get("RoleSessionName", "")):
        return _error(400, "ValidationError", "RoleSessionName")
    if not 900 <= int(form.get("DurationSeconds", "3600")) <= 43200:
        return _error(400, "ValidationError", "DurationSeconds")
    if "authorization" in form:
        return _error(400, "ValidationError", "signed")
    try:
        clouds.trust(GOOGLE, KUBERNETES, ENTRA, audiences=(AWS_AUDIENCE,)).claims(form.get("WebIdentityToken", ""))
    except TokenRefused as refused:
        return _error(*REASONS[refused.reason])
    if form.get("RoleArn") != ROLE:
        return _error(*REASONS["subject"])
    key, grant = clouds.grants.key(ROLE)
    fields = {
        "AccessKeyId": key,
        "SecretAccessKey": grant.secret,
        "SessionToken": grant.session,
        "Expiration": _time(grant.expires),
    }
    return _answer("AssumeRoleWithWebIdentity", f"<Credentials>{_elements(fields)}</Credentials>")


def _issue(clouds: Clouds, request: web.Request, form: dict[str, str], body: bytes) -> web.Response:
    """Issue an AWS token for the identity that signs the request."""
    try:
        who = find_signer(clouds.grants, "POST", str(request.url), dict(request.headers), body)
    except TokenRefused as refused:
        return _unknown(refused)
    if form.get("SigningAlgorithm") != "RS256" or not form.get("Audience.member.1"):
        return _error(400, "ValidationError", "SigningAlgorithm, Audience")
    token = clouds.issuers[AWS].token(who, form["Audience.member.1"], life=300)
    fields = {"WebIdentityToken": token, "Expiration": _time(clouds.clock() + 300)}
    return _answer("GetWebIdentityToken", _elements(fields))


def _caller(clouds: Clouds, request: web.Request, body: bytes) -> web.Response:
    """Answer with the identity that signs the request: the role itself instead of its session."""
    try:
        who = find_signer(clouds.grants, "POST", str(request.url), dict(request.headers), body)
    except TokenRefused as refused:
        return _unknown(refused)
    fields = {"Arn": who, "UserId": "AROAEXAMPLE:session", "Account": "111122223333"}
    return _answer("GetCallerIdentity", _elements(fields))


def _unknown(refused: TokenRefused) -> web.Response:
    code = "ExpiredToken" if refused.reason == "expired" else "SignatureDoesNotMatch"
    return _error(403, code, "The request is not signed by a known key")


async def answer_pod(clouds: Clouds, request: web.Request) -> web.Response:
    """Answer as the agent of a pod or task does (AWS_CONTAINER_CREDENTIALS_FULL_URI)."""
    if request.headers.get("authorization") != "pod-token":
        return web.json_response({"message": "who are you?"}, status=403)
    key, grant = clouds.grants.key(ROLE)
    names = {"AccessKeyId": key, "SecretAccessKey": grant.secret, "Token": grant.session}
    return web.json_response({**names, "Expiration": _time(grant.expires), "AccountId": "111122223333"})


def _answer(action: str, result: str) -> web.Response:
    body = f'<{action}Response xmlns="{NAMESPACE}"><{action}Result>{result}</{action}Result></{action}Response>'
    return web.Response(text=body, content_type="text/xml")


def _error(status: int, code: str, message: str) -> web.Response:
    error = f"<Error><Type>Sender</Type>{_elements({'Code': code, 'Message': message})}</Error>"
    body = f'<ErrorResponse xmlns="{NAMESPACE}">{error}<RequestId>1</RequestId></ErrorResponse>'
    return web.Response(status=status, text=body, content_type="text/xml")


def _elements(fields: dict[str, str]) -> str:
    return "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def build_environment(key: str, grant: Grant) -> dict[str, str]:
    """Return the environment of a program that runs with these keys."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    return dict(zip(names, (key, grant.secret, grant.session), strict=True))
