"""S3, SQS and KMS: "Required permissions for Amazon S3 API operations", and "Permissions" of each operation's page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from skyferry.testing.permissions import Ask, Asked
from skyferry.testing.servers.proxy import Exchange

# Method and the parameter that names the subresource -> the action, and that for one version.
OBJECT = {
    ("GET", ""): ("s3:GetObject", "s3:GetObjectVersion"),
    ("HEAD", ""): ("s3:GetObject", "s3:GetObjectVersion"),
    ("GET", "tagging"): ("s3:GetObjectTagging", "s3:GetObjectVersionTagging"),
    ("PUT", ""): ("s3:PutObject",),
    ("DELETE", ""): ("s3:DeleteObject", "s3:DeleteObjectVersion"),
    ("POST", "uploads"): ("s3:PutObject",),
    ("PUT", "uploadId"): ("s3:PutObject",),
    ("POST", "uploadId"): ("s3:PutObject",),
    ("GET", "uploadId"): ("s3:ListMultipartUploadParts",),
    ("DELETE", "uploadId"): ("s3:AbortMultipartUpload",),
}
BUCKET = {("GET", "uploads"): "s3:ListBucketMultipartUploads", ("GET", ""): "s3:ListBucket"}
SUBRESOURCES = (
    "uploadId",
    "uploads",
    "tagging",
    "versioning",
    "location",
    "encryption",
    "notification",
    "policy",
    "acl",
)
QUEUE = {  # a batch needs what its operation needs
    "ReceiveMessage": "sqs:ReceiveMessage",
    "DeleteMessageBatch": "sqs:DeleteMessage",
    "ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "SendMessageBatch": "sqs:SendMessage",
    "GetQueueUrl": "sqs:GetQueueUrl",
    "GetQueueAttributes": "sqs:GetQueueAttributes",
}
KEY = "x-amz-server-side-encryption-aws-kms-key-id"


def find_caller(exchange: Exchange) -> str:
    """Return the access key that signed the request."""
    found = re.search(r"Credential=([^/]+)/", exchange.headers.get("authorization", ""))
    return found[1] if found else ""


def list_asks(exchange: Exchange) -> Iterator[Ask]:
    """Yield the permissions of a request to path-style S3 or SQS. Raises UnknownRequest."""
    if target := exchange.headers.get("x-amz-target"):
        yield _queue(exchange, target.removeprefix("AmazonSQS."))
        return
    asked = Asked.of(exchange)
    bucket, key = asked.segments[0], "/".join(asked.segments[1:])
    what = next((name for name in SUBRESOURCES if name in asked.query), "")
    if not key:
        if (action := BUCKET.get((asked.method, what))) is None:
            raise asked.unknown()
        yield Ask(action, f"arn:aws:s3:::{bucket}")
        return
    if (actions := OBJECT.get((asked.method, what))) is None:
        raise asked.unknown()
    here = f"arn:aws:s3:::{bucket}/{key}"
    yield Ask(actions[-1 if "versionId" in asked.query else 0], here)
    yield from _besides(exchange, here)
    if exchange.status == 404 and asked.method in ("GET", "HEAD"):  # without this permission, the answer is 403
        yield Ask("s3:ListBucket", f"arn:aws:s3:::{bucket}")
    yield from _encrypted(exchange, what)


def _besides(exchange: Exchange, here: str) -> Iterator[Ask]:
    """Yield the permissions that headers need."""
    if exchange.headers.get("x-amz-tagging"):
        yield Ask("s3:PutObjectTagging", here)
    if "if-match" in exchange.headers and exchange.method in ("PUT", "POST", "DELETE"):
        yield Ask("s3:GetObject", here)
    if source := exchange.headers.get("x-amz-copy-source"):
        name, _, version = source.partition("?versionId=")
        yield Ask("s3:GetObjectVersion" if version else "s3:GetObject", f"arn:aws:s3:::{unquote(name).lstrip('/')}")


def _encrypted(exchange: Exchange, what: str) -> Iterator[Ask]:
    """Yield the permissions for a KMS key: reads, checksums and completed uploads decrypt; writes generate a data key."""
    key = exchange.headers.get(KEY) or exchange.answered.get(KEY, "")
    if not key:
        return
    if exchange.method == "PUT" and not what:
        yield Ask("kms:GenerateDataKey", key)
    elif exchange.method == "POST" and what == "uploads":
        yield Ask("kms:GenerateDataKey", key)
        yield Ask("kms:Decrypt", key)
    elif exchange.method == "GET" or "x-amz-checksum-mode" in exchange.headers or what == "uploadId":
        yield Ask("kms:Decrypt", key)


def list_token_asks(exchange: Exchange) -> Iterator[Ask]:
    """Yield the permissions of a request to STS. Assuming a role by a token is allowed by the role's trust policy."""
    if "Action=GetWebIdentityToken" in exchange.start:
        yield Ask("sts:GetWebIdentityToken", "*")


def _queue(exchange: Exchange, operation: str) -> Ask:
    if operation not in QUEUE:
        raise Asked.of(exchange).unknown()
    named = re.search(r'"QueueUrl":"[^"]*/(\d+)/([^"/]+)"', exchange.start)
    account, name = named.groups() if named else ("000000000000", _named(exchange))
    return Ask(QUEUE[operation], f"arn:aws:sqs:us-east-1:{account}:{name}")


def _named(exchange: Exchange) -> str:
    found = re.search(r'"QueueName":"([^"]+)"', exchange.start)
    return found[1] if found else ""
