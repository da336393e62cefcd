"""Buckets, queues and keys on LocalStack, the requests that reach them, and all that may happen to objects on their way."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import boto3  # type: ignore[import-untyped]  # no stubs are published with it
from tests.policy.granted import missing, of_aws, spare
from tests.policy.lab import MIB, event, look_after, run

from skyferry.config.settings import Settings
from skyferry.model import Change
from skyferry.policy import aws as policy
from skyferry.policy.needs import required_access
from skyferry.testing.permissions import Ask
from skyferry.testing.permissions.aws import find_caller, list_asks
from skyferry.testing.servers import LocalStack
from skyferry.testing.servers.proxy import Fault, FaultProxy

BIG = bytes(6 * MIB)
Put = Callable[..., Awaitable[None]]
DENIED = b"<Error><Code>AccessDenied</Code></Error>"
UNPROVEN = {"etag": f'"{"0" * 32}"', "x-amz-checksum-crc32c": "AAAAAA==", "date": "Wed, 25 Nov 2026 14:00:00 GMT"}


@dataclass
class Amazon:
    """Two buckets and a queue, with Amazon's own rows of what S3 can do: a dot in the name makes it path-style."""

    server: LocalStack
    proxy: FaultProxy
    name: str = field(default_factory=lambda: secrets.token_hex(4))

    def __post_init__(self) -> None:
        self.s3, self.sqs = self.client("s3"), self.client("sqs")
        self.source, self.there = f"source.{self.name}", f"there.{self.name}"
        for bucket in (self.source, self.there):
            self.s3.create_bucket(Bucket=bucket)
        self.queue = self.sqs.create_queue(QueueName=f"events-{self.name}")["QueueUrl"]

    def client(self, service: str) -> Any:
        session = boto3.Session("admin", "any", region_name="us-east-1")
        return session.client(service, endpoint_url=self.server.url)

    def store(self, bucket: str, who: str, **more: Any) -> dict[str, Any]:
        url = f"s3://{bucket}?region=us-east-1&service=aws&endpoint={self.proxy.url}"
        return {"url": url, "identity": identity(who), **more}

    def events(self, who: str) -> dict[str, Any]:
        url = f"sqs://events-{self.name}?region=us-east-1&endpoint={self.proxy.url}"
        return {"name": "events", "url": url, "identity": identity(who), "lease": "3s"}

    async def put(self, key: str, body: bytes = b"x" * 1000, bucket: str = "", **more: Any) -> None:
        self.s3.put_object(Bucket=bucket or self.source, Key=key, Body=body, **more)

    def assembled(self, key: str) -> None:
        """An object whose ETag is no MD5 and that has no checksum that we know."""
        at = {"Bucket": self.source, "Key": key}
        upload = self.s3.create_multipart_upload(**at, ChecksumAlgorithm="CRC32")["UploadId"]
        part = self.s3.upload_part(**at, UploadId=upload, PartNumber=1, Body=b"y" * 1000)
        parts = [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]}]
        self.s3.complete_multipart_upload(**at, UploadId=upload, MultipartUpload={"Parts": parts})

    def encrypt(self, key: str) -> None:
        """What is put into the source from now on."""
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
        rules = {"Rules": [rule]}
        self.s3.put_bucket_encryption(Bucket=self.source, ServerSideEncryptionConfiguration=rules)

    def keep_versions(self) -> None:
        for bucket in (self.source, self.there):
            self.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    def tell(self, bodies: Iterable[bytes]) -> None:
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.queue, MessageBody=body.decode())

    def asked(self, who: str) -> set[Ask]:
        return {ask for each in self.proxy.exchanges if find_caller(each) == who for ask in list_asks(each)}


def identity(who: str) -> dict[str, str]:
    """A key of its own."""
    return {"kind": "static", "key_env": f"{who}_ID", "secret_env": f"{who}_SECRET"}


def held(amazon: Amazon, configured: Settings) -> None:
    """Each identity's policy allows what it asked for, and nothing else."""
    for share, each in zip(
        required_access(configured).of("aws"), policy.policies(required_access(configured)), strict=True
    ):
        asked = amazon.asked(share.identity.key_env.removesuffix("_ID"))
        found = missing(of_aws(each), asked), spare(of_aws(each), asked)
        assert found == ([], []), found


async def story(
    amazon: Amazon,
    configured: Settings,
    tags: str = "",
    *,
    large: bool = True,
    prefix: str = "in/",
    put: Put | None = None,
) -> None:
    """All that may happen to objects on their way, once; `tags` as the header has them. `put` takes them to another source."""
    tagged: dict[str, Any] = {"Tagging": tags} if tags else {}
    put = put or amazon.put

    async def told(*keys: str, change: Change = Change.CREATED) -> None:
        amazon.tell(event(configured, "a", f"{prefix}{key}", change) for key in keys)
        await run(configured)

    for key in ("a", "foreign", "unproven", "raced", "empty"):
        await put(f"{prefix}{key}", b"" if key == "empty" else b"x" * 1000, **tagged)
    if put == amazon.put:
        await put(f"{prefix}crc", ChecksumAlgorithm="CRC32C", **tagged)
        amazon.assembled(f"{prefix}assembled")
    await amazon.put(f"out/{prefix}foreign", b"theirs", bucket=amazon.there, **tagged)
    amazon.proxy.plan(
        Fault("PUT", "/unproven", status=200, forward=True, headers=UNPROVEN),
        Fault("PUT", "/raced", status=412, body=b"<Error><Code>PreconditionFailed</Code></Error>"),
        Fault("PUT", "/foreign", status=503, headers={"retry-after": "2"}),  # so that the lease of a message is renewed
    )
    await told("a", "crc", "empty", "assembled", "foreign", "unproven", "raced", "never-there")
    await put(f"{prefix}a", b"newer", **tagged)
    await told("a")
    if large:
        await put(f"{prefix}big", BIG, **tagged)
        await put(f"{prefix}refused", BIG, **tagged)
        amazon.proxy.plan(
            Fault("PUT", "/big?partNumber=2", status=503),
            Fault("PUT", "/refused?partNumber=2", status=403, body=DENIED),
        )
        await told("big", "refused")
    amazon.s3.delete_object(Bucket=amazon.source, Key=f"{prefix}a")
    await told("a", change=Change.DELETED)
    await look_after(configured)
    assert amazon.proxy.pending == 0
