"""Requests to token services, with hints for their errors. Errors contain no secrets."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from skyferry.clouds.identity.extras import require_extra
from skyferry.errors import (
    ConnectionLost,
    IdentityRefused,
    SkyferryError,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
    Throttled,
)
from skyferry.frozen import dataclass
from skyferry.redaction import redact_values

TIMEOUT = 10.0  # seconds for the whole of it
ANSWER = 2**20  # bytes that an answer may have

CLOCK = "see that this machine's clock is right and that the token is renewed where it comes from"
# A part of what the service says -> what the operator can do. The first that fits counts.
HINTS: Sequence[tuple[str, str]] = (
    ("The config profile", "correct AWS_PROFILE, or write the profile into ~/.aws/config"),
    ("ExpiredTokenException", CLOCK),
    ("IncorrectTrustPolicy", "correct the role's trust policy: `skyferry policy` prints it"),
    ("No OpenIDConnect provider", "create the OIDC identity provider of the token's issuer in this AWS account"),
    (
        "Incorrect token audience",
        "add the audience to the OIDC identity provider, or set identity.audience to one it has",
    ),
    ("InvalidIdentityToken", "see that the OIDC identity provider in AWS has the token's issuer and audience"),
    (
        "sts:AssumeRoleWithWebIdentity",
        "let the role's trust policy name this token's subject: `skyferry policy` prints it",
    ),
    ("ID Token expired", CLOCK),
    ("is stale", CLOCK),
    ("audience in ID Token", "add identity.audience to the allowed audiences of the pool's provider, or correct it"),
    ("attribute condition", "let the attribute condition of the pool's provider take this token"),
    ("issuer", "set the issuer of the pool's provider, or of the federated credential, to that of the token"),
    ("invalid_target", "see that project, pool and provider exist and are enabled"),
    ("iam.serviceAccounts", "grant this principal roles/iam.workloadIdentityUser on the service account"),
    ("AADSTS700024", CLOCK),
    ("AADSTS70021", "add a federated credential to the application with the token's issuer, subject and audience"),
    ("AADSTS70020", "add a federated credential to the application with the token's issuer, subject and audience"),
    ("AADSTS7002", "add a federated credential to the application with the token's issuer, subject and audience"),
    ("AADSTS700016", "set identity.client_id to an application of this tenant"),
    ("AADSTS90002", "correct identity.tenant_id"),
    ("signature", "see that the token comes from the issuer that is trusted there"),
)


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request to a token service: a POST of `form` or `json`, otherwise a GET."""

    url: str
    who: str  # the name of the service, for errors
    form: Mapping[str, str] | None = None
    json: Mapping[str, object] | None = None
    headers: Mapping[str, str] | None = None
    secrets: Sequence[str] = ()  # must not appear in errors
    local: bool = False  # to the metadata of this machine, without a proxy


async def request_token(request: TokenRequest) -> bytes:
    """Return the body of a 2xx response. Raises IdentityRefused with the message of the service, or an outage error; also for
    a response of more than ANSWER bytes.
    """
    with require_extra("s3", request.who):  # here, for local stores do not need it
        from skyferry.clouds.http import Http, Limits, retry_after
    http = Http(request.who, request.url, Limits(1, TIMEOUT, TIMEOUT, ANSWER), direct=request.local)
    headers, body = _encode(request)
    method = "POST" if headers else "GET"
    try:
        async with asyncio.timeout(TIMEOUT):
            headers |= request.headers or {}
            answer = await http.exchange(method, request.url, headers, body, limit=ANSWER)
    except TimeoutError as late:
        raise StoreTimeout(where=request.who) from late
    except ConnectionLost as lost:
        lost.hint = lost.hint or f"see that {urlsplit(request.url).netloc} can be reached from here"
        raise
    except StoreError as error:
        if type(error) is not StoreError:
            raise
        raise StoreUnavailable(f"the answer has more than {ANSWER} bytes", where=request.who) from error
    finally:
        await http.close()
    if answer.status < 300:
        return answer.body
    raise _refusal(answer.status, answer.body, request, retry_after(answer.headers.get("retry-after", "")))


def _encode(request: TokenRequest) -> tuple[dict[str, str], bytes]:
    """Return the headers of the body, and the body; both are empty for a GET."""
    if request.form is not None:
        return {"content-type": "application/x-www-form-urlencoded"}, urlencode(request.form).encode()
    if request.json is not None:
        return {"content-type": "application/json"}, orjson.dumps(request.json)
    return {}, b""


def _refusal(status: int, body: bytes, request: TokenRequest, wait: float | None) -> SkyferryError:
    """Return the error. `wait` is the requested delay in seconds."""
    if status == 429:
        return Throttled(where=request.who, retry_after=wait)
    if status >= 500:
        return StoreUnavailable(f"HTTP {status}", where=request.who, retry_after=wait)
    return make_refusal(_said(body) or f"HTTP {status}", request.who, request.secrets)


def _said(body: bytes) -> str:
    """Return code and message of an error, in the JSON of Google and Entra or the XML of AWS."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return " ".join(re.findall(r"<(?:Code|Message)>(.*?)<", body.decode(errors="replace"), re.DOTALL))
    if not isinstance(found, dict):
        return ""
    error = found.get("error", "")
    if isinstance(error, dict):
        return f"{error.get('status', '')} {error.get('message', '')}"
    return f"{error} {found.get('error_description', '')}"


def make_refusal(said: str, who: str, secrets: Sequence[str] = (), hint: str = "") -> IdentityRefused:
    """Make the error, with a hint for known messages, and without the secrets."""
    said = redact_values(said.encode(), [secret.encode() for secret in secrets if secret]).decode(errors="replace")
    hint = hint or next((hint for words, hint in HINTS if words.lower() in said.lower()), "")
    return IdentityRefused(" ".join(said.split())[:500], where=who, hint=hint)


def parse_json(body: bytes, who: str) -> Mapping[str, Any]:
    """Parse a JSON object. Raises StoreUnavailable, for only a proxy responds with something else."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise StoreUnavailable("the answer is not JSON", where=who)
    return found


def read_member(document: Mapping[str, Any], name: str, who: str) -> str:
    """Return a required member. Raises StoreUnavailable."""
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise StoreUnavailable(f"the answer has no {name}", where=who)
    return value


def read_lifetime(document: Mapping[str, Any], name: str = "expires_in") -> float:
    """Return the lifetime of a token in seconds (text at Azure); one hour by default."""
    try:
        return float(document.get(name, 3600))
    except (TypeError, ValueError):
        return 3600.0
