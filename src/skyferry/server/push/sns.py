"""Messages of Amazon SNS, checked by their signature. Needs the extra `push`.

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

from skyferry.clouds.identity.exchange import Request, ask
from skyferry.clouds.regions import endpoint
from skyferry.config.push import PushSettings
from skyferry.errors import IdentityRefused, StoreUnavailable
from skyferry.server.push.endpoints import Admitted, Knock, refused
from skyferry.server.push.quota import Quota

HASHES: Mapping[str, HashAlgorithm] = {"1": SHA1(), "2": SHA256()}  # noqa: S303 - version 1 is what topics have by default
SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
CERTIFICATE = re.compile(r"/SimpleNotificationService-[0-9a-f]{16,64}\.pem")
KEPT = 8  # certificates; a topic has one at a time
FETCHES, PAUSE = (
    4,
    15.0,
)  # of certificates at once, and seconds until there is one more: anybody may name as many as he likes
ABSENT = 300.0  # seconds that a certificate which does not exist is not asked for again
T = TypeVar("T")
SKEW = 300.0  # seconds that a message may seem to be of the future


class SnsDoor:
    """Lets in what the configured topics signed, and subscribes to them alone."""

    def __init__(self, settings: PushSettings, clock: Callable[[], float]) -> None:
        self._topics, self._max_age, self._clock = frozenset(settings.topics), settings.max_age, clock
        self._endpoint = settings.endpoint.rstrip("/")
        self._certificates: dict[str, x509.Certificate] = {}
        self._absent: dict[str, float] = {}  # until when
        self._quota = Quota(FETCHES, PAUSE, clock)
        self._fetching = asyncio.Lock()

    async def admit(self, knock: Knock) -> Admitted:
        """See `Door`."""
        self._heard(knock.headers.get("x-amz-sns-topic-arn", ""))
        message = _message(await knock.body())
        kind, topic = message.get("Type", ""), message.get("TopicArn", "")
        if kind not in SIGNED:
            raise refused("This is no signed message of SNS.", "leave raw message delivery off: it has no signature")
        self._heard(topic or "none")
        self._timely(message.get("Timestamp", ""))
        await self._verify(message, SIGNED[kind])
        if kind == "SubscriptionConfirmation":
            await self._subscribe(topic, message.get("Token", ""))
        signed = {name: message[name] for name in SIGNED[kind] if name in message}  # anybody may have added the rest
        wanted = kind != "SubscriptionConfirmation"  # the end of one becomes a dead letter: else all falls silent
        return Admitted(wanted, orjson.dumps(signed), message.get("MessageId", ""))

    def _heard(self, topic: str) -> None:
        """Refuse a topic that is not configured; "" = it is not known yet."""
        if topic and topic not in self._topics:
            raise refused("The message is of a topic that is not configured.", "add its ARN to the topics")

    async def _verify(self, message: Mapping[str, str], names: tuple[str, ...]) -> None:
        algorithm = HASHES.get(message.get("SignatureVersion", ""))
        if algorithm is None:
            raise refused("The signature has a version that is not known.")
        text = "".join(f"{name}\n{message[name]}\n" for name in names if name in message)
        key = await self._key(message.get("SigningCertURL", ""), message["TopicArn"])
        try:
            signature = base64.b64decode(message.get("Signature", ""), validate=True)
            key.verify(signature, text.encode(), PKCS1v15(), algorithm)
        except (binascii.Error, InvalidSignature):
            raise refused("The message's signature is wrong.") from None

    async def _key(self, url: str, topic: str) -> RSAPublicKey:
        """Of the certificate, which is fetched once, and from the topic's own service alone."""
        if not self._pinned(url, topic):
            raise refused("The signing certificate is from somewhere else.")
        if url not in self._certificates:  # else nobody waits: anybody may name one that has to be fetched
            async with self._fetching:
                if url not in self._certificates:
                    self._keep(self._certificates, url, await self._fetch(url))
        return _valid_key(self._certificates[url], self._clock())

    async def _fetch(self, url: str) -> x509.Certificate:
        if self._absent.get(url, 0.0) > self._clock():
            raise refused("There is no such signing certificate.")
        if not self._quota.take():
            raise StoreUnavailable("too many certificates are asked for", where="SNS certificate", retry_after=PAUSE)
        try:
            found = _certificate(await ask(Request(url, "SNS certificate")))
        except IdentityRefused:
            self._keep(self._absent, url, self._clock() + ABSENT)
            raise refused("There is no such signing certificate.") from None
        _valid_key(found, self._clock())
        return found

    @staticmethod
    def _keep(known: dict[str, T], url: str, what: T) -> None:
        while len(known) >= KEPT:
            del known[next(iter(known))]
        known[url] = what

    def _pinned(self, url: str, topic: str) -> bool:
        if self._endpoint:
            return url.startswith(f"{self._endpoint}/")
        parts = urlsplit(url)
        plain = f"{parts.scheme}://{parts.netloc}{parts.path}" == url
        return plain and url.startswith(f"{service(topic)}/") and bool(CERTIFICATE.fullmatch(parts.path))

    def _timely(self, stamp: str) -> None:
        try:
            age = self._clock() - datetime.fromisoformat(stamp).timestamp()
        except ValueError:
            raise refused("The message has no time.") from None
        if not -SKEW <= age <= self._max_age:
            raise refused("The message is too old: it may be replayed.", "see max_age, and that the clocks are right")

    async def _subscribe(self, topic: str, token: str) -> None:
        """Confirm, at the address that we know; the one in the message might be anybody's."""
        query = urlencode({"Action": "ConfirmSubscription", "TopicArn": topic, "Token": token, "Version": "2010-03-31"})
        await ask(Request(f"{self._endpoint or service(topic)}/?{query}", "SNS", secrets=(token,)))


def service(topic: str) -> str:
    """The root of the service that a topic is of."""
    return endpoint("sns", topic.split(":")[3] if topic.count(":") >= 5 else "")


def _message(body: bytes) -> Mapping[str, str]:
    try:
        found = orjson.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise refused("This is no signed message of SNS.")
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _certificate(pem: bytes) -> x509.Certificate:
    try:
        found = x509.load_pem_x509_certificate(pem)
        found.public_key()  # of a kind that there is
    except ValueError as broken:
        raise StoreUnavailable("the answer is no certificate", where="SNS certificate") from broken
    return found


def _valid_key(certificate: x509.Certificate, now: float) -> RSAPublicKey:
    key, at = certificate.public_key(), datetime.fromtimestamp(now, UTC)
    if (
        not isinstance(key, RSAPublicKey)
        or not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc
    ):
        raise refused("The signing certificate is not valid now.")
    return key
