"""Signed requests to SQS in its JSON protocol, and what its answers mean. Each is sent once: the engine tries again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from skyferry.clouds.aws import EXPIRED, Signer
from skyferry.clouds.credentials import S3Credentials, S3Provider
from skyferry.clouds.http import DOCUMENT, Answer, Http, Limits
from skyferry.clouds.regions import endpoint
from skyferry.errors import ConfigError, QueueError, StoreError

HINTS = {
    "QueueDoesNotExist": "create it, or correct its name, region and account",
    "AccessDenied": "`skyferry policy` prints what our identity needs there",
    "KmsAccessDenied": "our identity needs kms:Decrypt and kms:GenerateDataKey on the queue's key",
    "OverLimit": "too many messages are in flight: lower max_in_flight_messages, or settle what others hold",
    "SignatureDoesNotMatch": "see that region and secret are right, and the clock too",
    "InvalidClientTokenId": "see that the access key is right",
    "ExpiredToken": "the credentials have ended and no newer ones were given",
    "Throttling": "the service asks for fewer requests",
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
    """How one queue is reached."""

    endpoint: str = ""  # URL; "" = Amazon's for the region
    region: str = ""  # "" = that of the queue's URL
    account: str = ""  # owner of a queue that is given by name; "" = our own account
    lease: int = 60  # seconds of visibility timeout, renewed while we hold a message
    connections: int = 32  # at the same time
    connect_timeout: float = 10.0  # seconds
    read_timeout: float = 30.0  # seconds without a byte; a long poll takes 20


class SqsClient:
    """One queue's requests."""

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
        """The answer of an operation on the queue, of at most `most` bytes. Raises QueueError."""
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

        async def once(credentials: S3Credentials) -> Answer:
            signed = self._signer.sign(credentials, "POST", urlsplit(self.root).path, headers, sha256)
            return await self._http.exchange("POST", self.root, signed, body, limit=most)

        try:
            credentials = await self._credentials()
            answer = await once(credentials)
            if answer.status >= 400 and code(answer) == "ExpiredToken":
                answer = await once(await self._credentials(stale=credentials.access_key))
            if answer.status < 300:
                return answer.json() if answer.body else {}
        except StoreError as error:
            where = error.where or self._http.where("")
            raise QueueError(error.message, where=where, hint=error.hint, retry_after=error.retry_after) from error
        raise refused(answer, self._http.where(operation))


def code(answer: Answer) -> str:
    """What an error is called, the same in all of the service's dialects."""
    told = _document(answer).get("__type", "") or answer.headers.get("x-amzn-query-error", "").partition(";")[0]
    short = re.split(r"[#.]", str(told))[-1]
    return ALIASES.get(short, short)


def refused(answer: Answer, where: str) -> QueueError:
    """What an error answer means."""
    document, name = _document(answer), code(answer)
    told = str(document.get("message") or document.get("Message") or f"HTTP {answer.status}")
    text = told.partition("\n")[0]  # below is what should have been signed, our token in it
    message = f"{name}: {text}" if name else text
    return QueueError(message, where=where, hint=HINTS.get(name, ""))


def _document(answer: Answer) -> dict[str, Any]:
    try:
        found = answer.json()
    except StoreError:  # the page of a proxy
        return {}
    return found if isinstance(found, dict) else {}
