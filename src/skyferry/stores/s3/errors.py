"""Translation of S3 error responses. Codes: "Error Responses", Amazon S3 API Reference, and those of other services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from skyferry.clouds.errors import STATUSES, ErrorResponse, ErrorTable, Meaning, parse_error_document, read_delay
from skyferry.clouds.http import HttpResponse
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
    """The service rejects an argument of the request."""


@contextmanager
def name_storage_class(storage_class: str, where: str) -> Iterator[None]:
    """Turn InvalidArgument into Unsupported that names the storage class: Ceph says no more of one that it does not have."""
    try:
        yield
    except InvalidArgument as refused:
        said = f"the service refuses the object, probably for its storage class {storage_class}: {refused.message}"
        raise Unsupported(said, where=where, hint=CLASS) from refused


CLASS = "map the storage class: `storage_class` of the route takes a class of the destination, or a map from the source's classes"
ENDPOINT = "check that the endpoint is that of an S3 service and that no proxy answers instead"
CLOCK = "set this machine's clock, or check whether the network delays requests too long"
CUSTOMER_KEY = "decrypt the object first: it is encrypted with a key of its writer's"
KMS = "grant this identity kms:GenerateDataKey and kms:Decrypt on the key, and check that the key is enabled"
RENEW = "renew the credentials, or use an identity that renews itself: they have expired"
REGION = "set the store's region"
RESTORE = "restore the object from the archive (RestoreObject), then redrive"

# Code -> error, and a hint for the operator.
CODES: Mapping[str, Meaning] = {
    "NoSuchKey": (ObjectNotFound, ""),
    "NoSuchVersion": (ObjectNotFound, ""),
    "NoSuchUpload": (UploadGone, ""),
    "InvalidArgument": (InvalidArgument, ""),
    "NoSuchBucket": (BucketNotFound, "create the bucket, or correct its name, endpoint or region"),
    "PermanentRedirect": (BucketNotFound, REGION),
    "AuthorizationHeaderMalformed": (BucketNotFound, REGION),
    "IllegalLocationConstraintException": (BucketNotFound, REGION),
    "PreconditionFailed": (PreconditionFailed, ""),
    "ConditionalRequestConflict": (PreconditionFailed, ""),  # two writers at once: the loser reads the object again
    "AccessDenied": (
        PermissionDenied,
        "grant this identity the action, and s3:ListBucket: without it an absent key is denied too. Or set requester_pays",
    ),
    "AllAccessDisabled": (PermissionDenied, ""),
    # The identity is at fault, not the object: work waits until the operator corrects it.
    "AccountProblem": (IdentityRefused, "check the account of this identity: it is suspended or unpaid"),
    "InvalidAccessKeyId": (
        IdentityRefused,
        "check that the access key belongs to this service: this access key does not exist here",
    ),
    "SignatureDoesNotMatch": (
        IdentityRefused,
        "check that the secret key belongs to the access key and that no proxy changes requests",
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
    "InvalidStorageClass": (Unsupported, CLASS),
    "MetadataTooLarge": (
        Unsupported,
        "shorten the user metadata to 2 KB, of which Skyferry needs about 400 bytes, or set `unfit.metadata: drop`",
    ),
    "InvalidTag": (
        Unsupported,
        "use at most 10 tags, of the characters that S3 allows, or set `unfit.tags` (--unfit tags=…)",
    ),
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


def _refine(error: ErrorResponse, meaning: Meaning) -> Meaning:
    """Find what the message, the region or a code of the key management service adds."""
    kind, hint = meaning
    if error.code.startswith("KMS."):
        kind, hint = CODES.get(error.code.removeprefix("KMS."), (PermissionDenied, KMS))
    if kind is PermissionDenied and "kms:" in error.message:
        return kind, KMS
    if error.code == "InvalidRequest" and "stored using a form of Server Side Encryption" in error.message:
        return PermissionDenied, CUSTOMER_KEY
    elsewhere = hint is REGION or (error.status == 301 and not error.code)  # the answer to a HEAD has no code
    return kind, f"{REGION} to {error.region}" if elsewhere and error.region else hint


ERRORS = ErrorTable(
    CODES,
    STATUSES
    | {
        301: (BucketNotFound, ""),
        307: (StoreUnavailable, ""),
        405: (Unsupported, ""),
        507: (QuotaExceeded, ""),
    },
    ENDPOINT,
    _refine,
)


def parse_error(answer: HttpResponse) -> ErrorResponse:
    """Parse an error response."""
    texts: dict[str, str] = {}
    for child in parse_error_document(answer.body):
        texts.setdefault(child.tag.rpartition("}")[2], child.text or "")
    return ErrorResponse(
        status=answer.status,
        code=texts.get("Code", ""),
        message=texts.get("Message", ""),
        region=answer.headers.get("x-amz-bucket-region", "") or texts.get("Region", ""),
        request_id=answer.headers.get("x-amz-request-id", ""),
        retry_after=read_delay(answer),
        tries=answer.tries,
    )


def translate_error(answer: HttpResponse, where: str) -> SkyferryError:
    """Return the error to raise. `where` names the store and the key."""
    return ERRORS.translate(parse_error(answer), where)
