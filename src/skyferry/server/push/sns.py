"""Messages of Amazon SNS, verified by their signature. Needs the extra `push`.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import urlencode, urlsplit

import orjson
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm

from skyferry.clouds.identity.exchange import TokenRequest, request_token
from skyferry.clouds.regions import endpoint
from skyferry.config.push import PushSettings
from skyferry.errors import IdentityRefused, StoreUnavailable
from skyferry.server.push.authenticator import Authentication, PushRequest, not_authentic
from skyferry.server.push.quota import Quota

HASHES: Mapping[str, HashAlgorithm] = {"1": SHA1(), "2": SHA256()}  # noqa: S303 - version 1 is the default of topics
SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
UNSIGNED = "The body is not a signed message of SNS."
CERTIFICATE = re.compile(r"/SimpleNotificationService-[0-9a-f]{16,64}\.pem")
CACHED = 8  # certificates; a topic has one at a time
FETCHES = 4  # certificates fetched in a burst: a request may name any number of them
PAUSE = 15.0  # seconds until one more certificate may be fetched
ABSENT = 300.0  # seconds until a missing certificate is requested again
SKEW = 300.0  # seconds that a message's time may be ahead of the clock
T = TypeVar("T")


class SnsAuthenticator:
    """Accepts messages that a configured topic signed, and confirms subscriptions to these topics only."""

    def __init__(self, settings: PushSettings, clock: Callable[[], float]) -> None:
        self._topics, self._max_age, self._clock = frozenset(settings.topics), settings.replay_window, clock
        self._endpoint = settings.endpoint.rstrip("/")
        self._certificates: dict[str, x509.Certificate] = {}
        self._absent: dict[str, float] = {}  # when each may be requested again
        self._quota = Quota(FETCHES, PAUSE, clock)
        self._fetching = asyncio.Lock()

    async def authenticate(self, request: PushRequest) -> Authentication:
        """See `Authenticator`."""
        self._check_topic(request.headers.get("x-amz-sns-topic-arn", ""))
        message = _parse_message(await request.body())
        kind, topic = message.get("Type", ""), message.get("TopicArn", "")
        if kind not in SIGNED:
            raise not_authentic(UNSIGNED, "turn raw message delivery off: raw messages have no signature")
        self._check_topic(topic or "none")
        self._check_time(message.get("Timestamp", ""))
        await self._verify(message, SIGNED[kind])
        if kind == "SubscriptionConfirmation":
            await self._confirm(topic, message.get("Token", ""))
        signed = {name: message[name] for name in SIGNED[kind] if name in message}  # other fields may be forged
        # An UnsubscribeConfirmation becomes a dead letter: otherwise the end of a subscription would go unnoticed.
        wanted = kind != "SubscriptionConfirmation"
        return Authentication(wanted, orjson.dumps(signed), message.get("MessageId", ""))

    def _check_topic(self, topic: str) -> None:
        """Reject a topic that is not configured; "" = not known yet."""
        if topic and topic not in self._topics:
            raise not_authentic("The topic is not configured.", "add its ARN to `topics` of this push endpoint")

    async def _verify(self, message: Mapping[str, str], names: tuple[str, ...]) -> None:
        algorithm = HASHES.get(message.get("SignatureVersion", ""))
        if algorithm is None:
            raise not_authentic("The signature has an unknown version.")
        text = "".join(f"{name}\n{message[name]}\n" for name in names if name in message)
        key = await self._key(message.get("SigningCertURL", ""), message["TopicArn"])
        try:
            signature = base64.b64decode(message.get("Signature", ""), validate=True)
            key.verify(signature, text.encode(), PKCS1v15(), algorithm)
        except (binascii.Error, InvalidSignature):
            raise not_authentic("The message's signature is wrong.") from None

    async def _key(self, url: str, topic: str) -> RSAPublicKey:
        """Return the key of the certificate at `url`, which is fetched once and only from the topic's own service."""
        if not self._is_pinned(url, topic):
            raise not_authentic("The signing certificate is not from the topic's service.")
        if url not in self._certificates:  # a cached one never waits for the lock: a request may name any certificate
            async with self._fetching:
                if url not in self._certificates:
                    self._cache(self._certificates, url, await self._fetch(url))
        return _valid_key(self._certificates[url], self._clock())

    async def _fetch(self, url: str) -> x509.Certificate:
        if self._absent.get(url, 0.0) > self._clock():
            raise not_authentic("The signing certificate does not exist.")
        if not self._quota.take():
            raise StoreUnavailable("too many certificates were requested", where="SNS certificate", retry_after=PAUSE)
        try:
            found = _parse_certificate(await request_token(TokenRequest(url, "SNS certificate")))
        except IdentityRefused:
            self._cache(self._absent, url, self._clock() + ABSENT)
            raise not_authentic("The signing certificate does not exist.") from None
        _valid_key(found, self._clock())
        return found

    @staticmethod
    def _cache(known: dict[str, T], url: str, value: T) -> None:
        while len(known) >= CACHED:
            del known[next(iter(known))]
        known[url] = value

    def _is_pinned(self, url: str, topic: str) -> bool:
        if self._endpoint:
            return url.startswith(f"{self._endpoint}/")
        parts = urlsplit(url)
        plain = f"{parts.scheme}://{parts.netloc}{parts.path}" == url
        return plain and url.startswith(f"{service_url(topic)}/") and bool(CERTIFICATE.fullmatch(parts.path))

    def _check_time(self, stamp: str) -> None:
        try:
            age = self._clock() - datetime.fromisoformat(stamp).timestamp()
        except ValueError:
            raise not_authentic("The message contains no valid time.") from None
        if not -SKEW <= age <= self._max_age:
            raise not_authentic("The message is too old: it may be replayed.", "check the clocks, or raise `max_age`")

    async def _confirm(self, topic: str, token: str) -> None:
        """Confirm the subscription at the topic's service; the address in the message is not trusted."""
        query = urlencode({"Action": "ConfirmSubscription", "TopicArn": topic, "Token": token, "Version": "2010-03-31"})
        await request_token(TokenRequest(f"{self._endpoint or service_url(topic)}/?{query}", "SNS", secrets=(token,)))


def service_url(topic: str) -> str:
    """Return the root URL of the topic's regional service."""
    return endpoint("sns", topic.split(":")[3] if topic.count(":") >= 5 else "")


def _parse_message(body: bytes) -> Mapping[str, str]:
    try:
        found = orjson.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise not_authentic(UNSIGNED)
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _parse_certificate(pem: bytes) -> x509.Certificate:
    try:
        found = x509.load_pem_x509_certificate(pem)
        found.public_key()  # raises for an unsupported kind of key
    except ValueError as broken:
        raise StoreUnavailable("the answer is not a certificate", where="SNS certificate") from broken
    return found


def _valid_key(certificate: x509.Certificate, now: float) -> RSAPublicKey:
    key, at = certificate.public_key(), datetime.fromtimestamp(now, UTC)
    if (
        not isinstance(key, RSAPublicKey)
        or not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc
    ):
        raise not_authentic("The signing certificate is expired, not valid yet, or has no RSA key.")
    return key
