"""What an S3 answer that is no success means. Codes: "Error Responses", Amazon S3 API Reference; and what others send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from skyferry.clouds.http import describe_error
from skyferry.errors import (
    BucketNotFound,
    ChecksumMismatch,
    ConnectionLost,
    IdentityRefused,
    InvalidKey,
    ObjectNotFound,
    PermissionDenied,
    PreconditionFailed,
    QuotaExceeded,
    SkyferryError,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
    Throttled,
    Unsupported,
    UploadGone,
)


class InvalidArgument(StoreError):
    """A part of the request makes no sense to the service."""


@dataclass(frozen=True, slots=True)
class S3ErrorResponse:
    """The error document of an answer."""

    status: int
    code: str  # "" where the answer had no body
    message: str
    region: str = ""  # where the bucket is, if the answer says so
    request_id: str = ""
    retry_after: float | None = None  # seconds


ENDPOINT = "see that the endpoint is that of an S3 service, and that no proxy answers in its place"
CLOCK = "set this machine's clock, or see whether the network takes longer than it may for a request to arrive"
CUSTOMER_KEY = "the object is encrypted with a key of its writer's"
KMS = "grant this identity kms:GenerateDataKey and kms:Decrypt on the key, and see that the key is enabled"
RENEW = "the credentials have ended: renew them, or use an identity that renews itself"
REGION = "set the store's region"
RESTORE = "restore the object from the archive (RestoreObject), then redrive"

# Code -> error, and what the operator can do about it.
CODES: Mapping[str, tuple[type[SkyferryError], str]] = {
    "NoSuchKey": (ObjectNotFound, ""),
    "NoSuchVersion": (ObjectNotFound, ""),
    "NoSuchUpload": (UploadGone, ""),
    "InvalidArgument": (InvalidArgument, ""),
    "NoSuchBucket": (BucketNotFound, "create the bucket, or correct its name, endpoint or region"),
    "PermanentRedirect": (BucketNotFound, REGION),
    "AuthorizationHeaderMalformed": (BucketNotFound, REGION),
    "IllegalLocationConstraintException": (BucketNotFound, REGION),
    "PreconditionFailed": (PreconditionFailed, ""),
    "ConditionalRequestConflict": (PreconditionFailed, ""),  # two writers at once: who lost looks again
    "AccessDenied": (
        PermissionDenied,
        "grant this identity the action; without s3:ListBucket an absent key is denied too. Or the requester pays",
    ),
    "AllAccessDisabled": (PermissionDenied, ""),
    # Who we are is in doubt, and no object at fault: the work waits until that is put right.
    "AccountProblem": (IdentityRefused, "the account of this identity is suspended or unpaid"),
    "InvalidAccessKeyId": (
        IdentityRefused,
        "this access key does not exist here: see that it belongs to this service",
    ),
    "SignatureDoesNotMatch": (
        IdentityRefused,
        "the secret key does not belong to the access key, or a proxy changes requests",
    ),
    "ExpiredToken": (IdentityRefused, RENEW),
    "TokenRefreshRequired": (IdentityRefused, RENEW),
    "InvalidToken": (IdentityRefused, RENEW),
    "RequestTimeTooSkewed": (IdentityRefused, CLOCK),
    "RequestExpired": (IdentityRefused, CLOCK),
    "InvalidObjectState": (Unsupported, RESTORE),
    "ObjectNotInActiveTierError": (Unsupported, RESTORE),
    "NotImplemented": (Unsupported, ""),
    "MethodNotAllowed": (Unsupported, ""),
    "InvalidStorageClass": (Unsupported, "map the source's storage class to one that the destination has"),
    "MetadataTooLarge": (Unsupported, "user metadata may have 2 KB, of which Skyferry needs about 400 bytes itself"),
    "InvalidTag": (Unsupported, "an object may have 10 tags of a restricted alphabet"),
    "EntityTooLarge": (Unsupported, ""),
    "KeyTooLongError": (InvalidKey, ""),
    "InvalidURI": (InvalidKey, ""),
    "BadDigest": (ChecksumMismatch, ""),
    "InvalidDigest": (ChecksumMismatch, ""),
    "XAmzContentSHA256Mismatch": (ChecksumMismatch, ""),
    "XAmzContentChecksumMismatch": (ChecksumMismatch, ""),
    "IncompleteBody": (ConnectionLost, ""),
    "RequestTimeout": (StoreTimeout, ""),
    "SlowDown": (Throttled, ""),
    "SlowDownRead": (Throttled, ""),
    "SlowDownWrite": (Throttled, ""),
    "Throttling": (Throttled, ""),
    "ThrottlingException": (Throttled, ""),
    "RequestLimitExceeded": (Throttled, ""),
    "TooManyRequests": (Throttled, ""),
    "InternalError": (StoreUnavailable, ""),
    "ServiceUnavailable": (StoreUnavailable, ""),
    "TemporaryRedirect": (StoreUnavailable, ""),
    "OperationAborted": (StoreUnavailable, ""),  # another operation on the bucket is under way
    "QuotaExceeded": (QuotaExceeded, ""),
    "XMinioStorageFull": (QuotaExceeded, ""),
}

# Where there is no code, or one that is not above.
STATUS: Mapping[int, type[SkyferryError]] = {
    301: BucketNotFound,
    307: StoreUnavailable,
    401: IdentityRefused,
    403: PermissionDenied,
    404: BucketNotFound,  # never an object: what does not answer like S3 must not look like deletes
    405: Unsupported,
    408: StoreTimeout,
    412: PreconditionFailed,
    429: Throttled,
    501: Unsupported,
    507: QuotaExceeded,
}


def translate_error(error: S3ErrorResponse, where: str) -> SkyferryError:
    """The error to raise. `where` names the store and the key."""
    fallback = STATUS.get(error.status, StoreUnavailable if error.status >= 500 else StoreError)
    kind, hint = CODES.get(error.code, (fallback, ENDPOINT if fallback is BucketNotFound else ""))
    if error.code.startswith("KMS."):
        kind, hint = CODES.get(error.code.removeprefix("KMS."), (PermissionDenied, KMS))
    if kind is PermissionDenied and "kms:" in error.message:
        hint = KMS
    if error.code == "InvalidRequest" and "stored using a form of Server Side Encryption" in error.message:
        kind, hint = PermissionDenied, CUSTOMER_KEY
    if kind is StoreUnavailable and error.status == 503 and error.retry_after is not None:
        kind = Throttled
    if hint is REGION and error.region:
        hint = f"{REGION} to {error.region}"
    return kind(
        describe_error(error.message.strip(), error.code, error.status, error.request_id),
        where=where,
        hint=hint,
        retry_after=error.retry_after,
    )
