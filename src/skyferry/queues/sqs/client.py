"""A client of SQS's JSON protocol, and the translation of its errors. Each request is sent once; the engine retries."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from skyferry.clouds.aws import EXPIRED, Signer
from skyferry.clouds.credentials import Expiry, S3Credentials, S3Provider, call_authorized
from skyferry.clouds.http import DOCUMENT, Http, HttpResponse, Limits
from skyferry.clouds.regions import endpoint
from skyferry.errors import ConfigError, QueueError, StoreError
from skyferry.frozen import dataclass

HINTS = {
    "QueueDoesNotExist": "create it, or correct its name, region and account",
    "AccessDenied": "grant the permissions that `skyferry policy` prints",
    "KmsAccessDenied": "grant kms:Decrypt and kms:GenerateDataKey on the queue's key to the identity",
    "OverLimit": "too many messages are in flight: lower max_in_flight_messages, or let other consumers acknowledge theirs",
    "SignatureDoesNotMatch": "check the region, the secret and the clock of this machine",
    "InvalidClientTokenId": "check the access key",
    "ExpiredToken": "the credentials have expired and no newer ones are available; renew them",
    "Throttling": "the service throttles requests; they are retried",
}
ALIASES = {
    "NonExistentQueue": "QueueDoesNotExist",
    "AccessDeniedException": "AccessDenied",
    "KMSAccessDeniedException": "KmsAccessDenied",
    "KmsAccessDeniedException": "KmsAccessDenied",
    "RequestThrottled": "Throttling",
    "ThrottlingException": "Throttling",
    "TooManyRequestsException": "Throttling",
    "UnrecognizedClientException": "InvalidClientTokenId",
    **dict.fromkeys(EXPIRED, "ExpiredToken"),
}


@dataclass(frozen=True, slots=True)
class SqsOptions:
    """Options of one queue."""

    endpoint: str = ""  # URL; "" = Amazon's for the region
    region: str = ""  # "" = that of the queue's URL
    account: str = ""  # owner of a queue that is given by name; "" = the account of the identity
    lease: int = 60  # seconds of visibility timeout, renewed while a message is leased
    connections: int = 32  # at the same time
    connect_timeout: float = 10.0  # seconds
    read_timeout: float = 30.0  # seconds without a byte; a long poll takes 20


class SqsClient:
    """A client of one queue."""

    def __init__(self, name: str, location: str, credentials: S3Provider, options: SqsOptions) -> None:
        self._credentials, self._options, self._location = credentials, options, location
        url = urlsplit(location) if "://" in location else None
        found = re.match(r"sqs\.([a-z0-9-]+)\.|([a-z0-9-]+)\.queue\.", url.netloc) if url else None
        region = options.region or (found and (found[1] or found[2])) or ""
        if not region:
            raise ConfigError("no region is given", where=name, hint="add ?region=… to its URL")
        own = f"{url.scheme}://{url.netloc}" if url else endpoint("sqs", region)
        self.root = (options.endpoint or own).rstrip("/") + "/"
        self.region = region
        self._signer = Signer("sqs", region)
        limits = Limits(options.connections, options.connect_timeout, options.read_timeout)
        self._http = Http(name, self.root, limits)
        self._url = location if url else ""

    async def call(self, operation: str, most: int = DOCUMENT, /, **fields: object) -> Any:
        """Return the answer of an operation on the queue, of at most `most` bytes. Raises QueueError."""
        return await self._ask(operation, {"QueueUrl": await self._queue_url(), **fields}, most)

    async def close(self) -> None:
        """Close the connections. Idempotent."""
        await self._http.close()

    async def _queue_url(self) -> str:
        if not self._url:
            owner = {"QueueOwnerAWSAccountId": self._options.account} if self._options.account else {}
            self._url = (await self._ask("GetQueueUrl", {"QueueName": self._location, **owner}))["QueueUrl"]
        return self._url

    async def _ask(self, operation: str, fields: Mapping[str, object], most: int = DOCUMENT) -> Any:
        body = orjson.dumps(fields)
        headers = {
            "Host": urlsplit(self.root).netloc,
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"AmazonSQS.{operation}",
        }
        sha256 = hashlib.sha256(body).hexdigest()

        async def once(credentials: S3Credentials) -> HttpResponse:
            signed = self._signer.sign(credentials, "POST", urlsplit(self.root).path, headers, sha256)
            return await self._http.exchange("POST", self.root, signed, body, limit=most)

        try:
            answer = await call_authorized(self._credentials, once, _find_expiry)
            if answer.status < 300:
                return answer.json() if answer.body else {}
        except StoreError as error:
            where = error.where or self._http.where("")
            raise QueueError(error.message, where=where, hint=error.hint, retry_after=error.retry_after) from error
        raise refused(answer, self._http.where(operation))


def _find_expiry(answer: HttpResponse) -> Expiry:
    return Expiry.CERTAIN if answer.status >= 400 and code(answer) == "ExpiredToken" else Expiry.NONE


def code(answer: HttpResponse) -> str:
    """Return the code of an error, the same for all dialects of the service."""
    name = _document(answer).get("__type", "") or answer.headers.get("x-amzn-query-error", "").partition(";")[0]
    short = re.split(r"[#.]", str(name))[-1]
    return ALIASES.get(short, short)


def refused(answer: HttpResponse, where: str) -> QueueError:
    """Translate an error."""
    document, name = _document(answer), code(answer)
    full = str(document.get("message") or document.get("Message") or f"HTTP {answer.status}")
    text = full.partition("\n")[0]  # the rest is the text to sign, which contains the token
    message = f"{name}: {text}" if name else text
    return QueueError(message, where=where, hint=HINTS.get(name, ""))


def _document(answer: HttpResponse) -> dict[str, Any]:
    try:
        found = answer.json()
    except StoreError:  # a page of a proxy
        return {}
    return found if isinstance(found, dict) else {}
