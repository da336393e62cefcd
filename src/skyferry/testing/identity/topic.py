"""A topic of Amazon SNS that signs what it sends, and the service that shows its certificate."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import field, replace
from datetime import UTC, datetime, timedelta

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from skyferry.frozen import dataclass
from skyferry.testing.identity.issuer import Clock, private_key

ARN = "arn:aws:sns:eu-west-1:111122223333:uploads"
PATH = "/SimpleNotificationService-9c6465fa7f48f5cacd23014631ec1136.pem"


@dataclass(frozen=True, slots=True)
class Topic:
    """Signs messages as SNS does."""

    url: str  # of the service
    clock: Clock
    arn: str = ARN
    owner: str = "a topic"  # whose key it is
    calls: Counter[str] = field(default_factory=Counter)  # requests to the service, by action

    def forger(self) -> Topic:
        """Return an impostor of this topic, with another key."""
        return replace(self, owner="a forger")

    def message(
        self, kind: str = "Notification", text: str = "{}", *, version: str = "1", age: float = 0.0, **others: str
    ) -> dict[str, str]:
        """A signed message, sent `age` seconds ago."""
        sent = datetime.fromtimestamp(self.clock() - age, UTC)
        message = {
            "Type": kind,
            "MessageId": "450ec42d-0000-4000-8000-000000000001",
            "TopicArn": self.arn,
            "Message": text,
            "Timestamp": sent.strftime("%Y-%m-%dT%H:%M:%S.") + f"{sent.microsecond // 1000:03d}Z",
            **others,
        }
        return self.signed(message, version)

    def signed(self, message: Mapping[str, str], version: str = "1") -> dict[str, str]:
        """The message with its signature: each name and value on a line of its own, in the order of their names."""
        names = {"Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
        text = "".join(f"{name}\n{message[name]}\n" for name in sorted(names & set(message)))
        signature = private_key(self.owner).sign(text.encode(), PKCS1v15(), SHA256() if version == "2" else SHA1())
        proof = {"SignatureVersion": version, "Signature": base64.b64encode(signature).decode()}
        return {**message, **proof, "SigningCertURL": self.url + PATH}

    def certificate(self, *, begins: float = -1.0, days: float = 365.0) -> bytes:
        """Its certificate, in PEM; `begins` is in days from now."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        start = datetime.fromtimestamp(self.clock(), UTC) + timedelta(days=begins)
        key = private_key(self.owner)
        builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(start).not_valid_after(start + timedelta(days=days))
        return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


@asynccontextmanager
async def run_topic(clock: Clock) -> AsyncIterator[Topic]:
    """The service of a topic for as long as the block: its certificate, and confirmations."""
    topics: list[Topic] = []

    async def certificate(request: web.Request) -> web.Response:
        topics[0].calls["certificate"] += 1
        return web.Response(body=topics[0].certificate())

    async def confirm(request: web.Request) -> web.Response:
        topics[0].calls[json.dumps(dict(request.query), sort_keys=True)] += 1
        return web.Response(text="<ConfirmSubscriptionResponse/>", content_type="text/xml")

    application = web.Application()
    application.add_routes([web.get(PATH, certificate), web.get("/", confirm)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        topics.append(Topic(f"http://{host}:{port}", clock))
        yield topics[0]
    finally:
        await runner.cleanup()
