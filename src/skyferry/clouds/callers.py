"""The caller that credentials identify, for display only. It contains no secret, and verifies none."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from time import time
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from skyferry.clouds.aws import Signer
from skyferry.clouds.azure import AzureProvider, SharedKey
from skyferry.clouds.credentials import S3Provider, TokenProvider
from skyferry.clouds.http import Http, HttpResponse, Limits
from skyferry.clouds.http.response import parse_mail_date
from skyferry.clouds.regions import sts
from skyferry.errors import StoreError
from skyferry.ports.inspection import Unknown

TOKEN_INFO = "https://oauth2.googleapis.com/tokeninfo"  # noqa: S105 - no secret
FORM = "application/x-www-form-urlencoded; charset=utf-8"


async def aws_caller(credentials: S3Provider, region: str, endpoint: str = "") -> str | Unknown:
    """Return the ARN from AWS STS (GetCallerIdentity, which needs no permission). `endpoint` is for other services.

    Raise the errors of the credentials provider.
    """
    url = (endpoint or sts(region)).rstrip("/")
    body = b"Action=GetCallerIdentity&Version=2011-06-15"
    headers = {"Host": urlsplit(url).netloc, "Content-Type": FORM}
    path = f"{urlsplit(url).path}/"
    who = await credentials()
    signed = Signer("sts", region).sign(who, "POST", path, headers, hashlib.sha256(body).hexdigest())
    try:
        document = (await _once("AWS STS", f"{url}/", signed, body)).xml()
    except StoreError:
        return Unknown("its STS does not answer")
    return document.findtext(".//{*}Arn") or Unknown("it has no STS that names the caller")


async def google_caller(tokens: TokenProvider, url: str = TOKEN_INFO) -> str | Unknown:
    """Return the e-mail or number of the token's Google account. Raise the errors of the token provider."""
    token = await tokens()
    if not token:
        return "anonymous"
    try:
        body = urlencode({"access_token": token}).encode()
        claims = (await _once("Google", url, {"Content-Type": FORM}, body)).json()
    except StoreError:
        return Unknown("Google does not answer")
    found = claims.get("email") or claims.get("sub") or claims.get("azp") if isinstance(claims, dict) else ""
    return str(found) if found else Unknown("Google names only its own accounts")


async def azure_caller(credential: AzureProvider) -> str | Unknown:
    """Return the names in the token, or the account of the key. Raise the errors of the credentials provider."""
    given = await credential()
    if isinstance(given, SharedKey):
        return f"a key of the account {given.account}"
    if not given:
        return "anonymous"
    claims = _claims(given)
    names = {"upn": "", "appid": "application ", "azp": "application ", "oid": "object ", "tid": "tenant "}
    said = [f"{word}{claims[name]}" for name, word in names.items() if isinstance(claims.get(name), str)]
    return ", ".join(said) if said else Unknown("the token names no caller")


def skew(headers: Mapping[str, str]) -> float | Unknown:
    """Return the seconds by which the server's clock is ahead of the local one. The Date header has whole seconds."""
    try:
        there, here = parse_mail_date(headers.get("date", "")), time()
    except ValueError:
        return Unknown("the answer has no date")
    return 0.0 if abs(there - here) < 1.5 else there - here


async def _once(name: str, url: str, headers: Mapping[str, str], body: bytes) -> HttpResponse:
    http = Http(name, url, Limits(connections=1, connect_timeout=5.0, read_timeout=10.0))
    try:
        return await http.exchange("POST", url, headers, body)
    finally:
        await http.close()


def _claims(token: str) -> Mapping[str, Any]:
    """Read the claims of a JSON Web Token without verification: they are for display only."""
    _, part, *_ = (*token.split("."), "", "")
    try:
        found = orjson.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, orjson.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}
