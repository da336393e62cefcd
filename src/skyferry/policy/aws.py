"""IAM policies of AWS: the permissions of S3, SQS and KMS for the requests that Skyferry makes.

"Required permissions for Amazon S3 API operations" (Amazon S3 User Guide) and the Service Authorization Reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import field

from skyferry.clouds.regions import partition
from skyferry.frozen import dataclass
from skyferry.policy.aws_commands import OUTBOUND, queue_policy_command, role_commands
from skyferry.policy.aws_trust import describe_aws_identity, trust_policy
from skyferry.policy.document import Json, Policy
from skyferry.policy.needs import IdentityAccess, QueueAccess, RequiredAccess, StoreAccess

READ = ("s3:GetObject", "s3:GetObjectVersion")  # the latter where the bucket keeps versions
READ_TAGS = ("s3:GetObjectTagging", "s3:GetObjectVersionTagging")  # responses report tags only with these
WRITE = ("s3:DeleteObject", "s3:GetObject", "s3:PutObject")  # unverified copies are deleted too
WRITE_TAGS = (*READ_TAGS, "s3:PutObjectTagging")
WRITE_LARGE = ("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
LOOK = ("s3:ListBucket",)  # without it a missing object is a 403, and looks like no permission
LOOK_FOR_UPLOADS = ("s3:ListBucketMultipartUploads",)
KMS_READ = ("kms:Decrypt",)
KMS_WRITE = (
    "kms:Decrypt",
    "kms:GenerateDataKey",
)  # a multipart upload, and a checksum that is asked for, need the former
TAKE = (
    *("sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes"),
    *("sqs:GetQueueUrl", "sqs:ReceiveMessage"),
)
SEND = ("sqs:SendMessage",)
_SPECIAL = re.compile(r"[*?$]")


@dataclass(frozen=True, slots=True)
class Statement:
    """Allowed actions, and their resources."""

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: Json = field(default_factory=dict)

    def document(self) -> Json:
        """Return the statement in the form of IAM."""
        body = {"Effect": "Allow", "Action": sorted(set(self.actions)), "Resource": list(self.resources)}
        return {"Sid": self.sid, **body, **({"Condition": self.condition} if self.condition else {})}


def policies(needs: RequiredAccess) -> list[Policy]:
    """Return one policy for each identity."""
    return [_policy(share, needs) for share in needs.of("aws")]


def _policy(share: IdentityAccess, needs: RequiredAccess) -> Policy:
    statements = [s for store in share.stores for s in _store(store)] + [s for q in share.queues for s in _queue(q)]
    if share.tokens:  # they name no resource
        audiences = {"ForAllValues:StringEquals": {"sts:IdentityTokenAudience": list(share.tokens)}}
        statements.append(Statement("Tokens", ("sts:GetWebIdentityToken",), ("*",), audiences))
    documents: dict[str, Json] = {"policy": policy_document(s.document() for s in _distinct(statements))}
    trusted = trust_policy(share.identity)
    if trusted:
        documents["trust"] = trusted
    commands = list(role_commands(share.identity, trusted, documents["policy"]))
    if share.tokens:
        commands.insert(0, OUTBOUND)
    sources = [arn(s, "s3", f":::{s.url.bucket}") for s in needs.stores if s.read and s.settings.service == "aws"]
    for queue in share.queues:
        if sources and queue.notified:
            documents[f"policy of {queue.what}"] = notified = _notified(queue, sources)
            commands.append(queue_policy_command(queue, notified))
    if _elsewhere(share):  # without IAM, no command of AWS applies
        commands = []
    shown = frozenset(documents if commands else ())
    return Policy(
        "aws",
        describe_aws_identity(share.identity),
        share.users,
        documents,
        tuple(commands),
        tuple(_notes(share)),
        shown,
    )


def _elsewhere(share: IdentityAccess) -> list[str]:
    """Return the services that speak S3 and are not Amazon's."""
    return sorted({store.settings.service for store in share.stores} - {"aws"})


def policy_document(statements: Iterable[Json]) -> Json:
    """Return a policy with these statements."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def arn(place: StoreAccess | QueueAccess, service: str, rest: str) -> str:
    """Return an ARN in the partition of the region."""
    return f"arn:{partition(place.settings.region)[0]}:{service}{rest}"


def _store(store: StoreAccess) -> Iterator[Statement]:
    name, bucket = _sid(store.name), arn(store, "s3", f":::{store.url.bucket}")
    takes_tags = store.where.profile.tags
    if store.read:
        actions = READ + (READ_TAGS if takes_tags else ())
        yield Statement(f"{name}Source", actions, _objects(bucket, store.read))
    if store.removed:
        yield Statement(f"{name}SourceDelete", ("s3:DeleteObject",), _objects(bucket, store.removed))
    if store.written:
        actions = WRITE + (WRITE_TAGS if store.tags_written else ()) + (WRITE_LARGE if store.large else ())
        yield Statement(f"{name}Destination", actions, _objects(bucket, store.written))
    yield Statement(f"{name}Bucket", LOOK + (LOOK_FOR_UPLOADS if store.written else ()), (bucket,))
    if store.settings.kms_key:
        yield _key(store, f"{name}Key")


def _queue(queue: QueueAccess) -> Iterator[Statement]:
    actions = TAKE + (SEND if queue.sent else ())
    yield Statement(f"{_sid(queue.name)}Queue", actions, (_queue_arn(queue, "*"),))


def _queue_arn(queue: QueueAccess, unknown: str) -> str:
    url, region = queue.url, queue.settings.region
    return arn(queue, "sqs", f":{region or '*'}:{url.account or unknown}:{url.queue}")


def _key(store: StoreAccess, sid: str) -> Statement:
    """Allow the use of a key. KMS needs its ARN; an alias needs a condition."""
    key, region = store.settings.kms_key, store.settings.region
    actions = KMS_WRITE if store.written else KMS_READ
    condition: dict[str, Json] = {}
    if region:
        condition["StringEquals"] = {"kms:ViaService": f"s3.{region}.{partition(region)[1]}"}
    alias = re.search(r"(?:\A|:)(alias/.+)\Z", key)
    if alias:
        condition["ForAnyValue:StringEquals"] = {"kms:ResourceAliases": alias[1]}
        key = key.removesuffix(alias[1]) + "key/*" if key.startswith("arn:") else "*"
    if not key.startswith("arn:"):
        key = arn(store, "kms", f":{region or '*'}:*:key/{key}")
    return Statement(sid, actions, (key,), condition)


def _objects(bucket: str, prefixes: tuple[str, ...]) -> tuple[str, ...]:
    """Escape `*`, `?` and `${` in prefixes, which are special in IAM."""
    return tuple(f"{bucket}/{_SPECIAL.sub(lambda found: f'${{{found[0]}}}', prefix)}*" for prefix in prefixes)


def _notified(queue: QueueAccess, sources: list[str]) -> Json:
    """Return the policy of a queue that allows S3 to send to it."""
    condition = {"ArnEquals": {"aws:SourceArn": sources}, "StringEquals": {"aws:SourceAccount": "ACCOUNT"}}
    allowed = {"Action": "sqs:SendMessage", "Resource": _queue_arn(queue, "ACCOUNT"), "Condition": condition}
    return policy_document([{"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, **allowed}])


def _notes(share: IdentityAccess) -> Iterator[str]:
    if share.identity.kind == "static":
        yield "A long-lived key has no policy. Attach this one to its user."
    for service in _elsewhere(share):
        yield f"{service} is not Amazon's. If it does not support IAM policies, create a key for these buckets alone."
    if share.identity.kind != "static" and not _elsewhere(share):
        yield "A role that exists keeps its trust policy: run put-role-policy alone."
    for queue in share.queues:
        if not (queue.url.account and queue.settings.region):
            yield f"{queue.what}: * is in place of the account or region, which the URL does not name."
    if share.queues:
        yield "A queue with a customer key (SSE-KMS) also needs kms:Decrypt on the key, and kms:GenerateDataKey to send."
    if any(s.read and not s.settings.kms_key for s in share.stores):
        yield "A source with a customer key (SSE-KMS) also needs kms:Decrypt on the key. Set kms_key of the store."


def _distinct(statements: list[Statement]) -> Iterator[Statement]:
    """Number statements whose names became equal, for a Sid has only letters and digits."""
    seen: dict[str, int] = {}
    for statement in statements:
        seen[statement.sid] = count = seen.get(statement.sid, 0) + 1
        sid = statement.sid if count == 1 else f"{statement.sid}{count}"
        yield Statement(sid, statement.actions, statement.resources, statement.condition)


def _sid(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", name))
