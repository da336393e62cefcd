"""Translation of Cloud Storage error responses. Source: "HTTP status and error codes for JSON", Cloud Storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from skyferry.clouds.http import HttpResponse, describe_error, retry_after
from skyferry.errors import (
    BucketNotFound,
    ChecksumMismatch,
    IdentityRefused,
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
)


@dataclass(frozen=True, slots=True)
class GcsErrorResponse:
    """An error response, parsed. Errors of media requests are plain text."""

    status: int
    reason: str  # e.g. "rateLimitExceeded"; "" if the answer has none
    message: str
    request_id: str = ""
    retry_after: float | None = None  # seconds


CREATE = "create the bucket, or correct its name"
ENDPOINT = "check that the endpoint is that of Cloud Storage's JSON API and that no proxy answers instead"
GRANT = "grant this identity the permission, and storage.objects.list: without it an absent object is denied too"
BILLING = "set the store's billing project, or check that its billing account is active and the API is enabled"
ANONYMOUS = "configure an identity for this store: the request was sent without a credential"
CUSTOMER_KEY = "decrypt the object first: it is encrypted with a key of its writer's"
PAYS = "set the store's billing project: the requester pays"
PAYER = "grant this identity roles/serviceusage.serviceUsageConsumer on the billing project"
KMS = "grant the project's Cloud Storage service agent roles/cloudkms.cryptoKeyEncrypterDecrypter, and enable the key"
RENEW = "renew the credentials, or use an identity that renews itself: they have expired"
HOLD = "release the object's event-based or temporary hold, or wait for the end of its retention policy"

# Reason -> error, and a hint for the operator.
REASONS: Mapping[str, tuple[type[SkyferryError], str]] = {
    "authError": (IdentityRefused, RENEW),
    "expired": (IdentityRefused, RENEW),
    "accountDisabled": (PermissionDenied, BILLING),
    "accessNotConfigured": (PermissionDenied, BILLING),
    "userProjectMissing": (PermissionDenied, PAYS),
    "userProjectAccountProblem": (PermissionDenied, BILLING),
    "userProjectInvalid": (PermissionDenied, BILLING),
    "orgPolicyConstraintFailed": (
        PermissionDenied,
        "ask for an exception: a policy of the organization forbids the request",
    ),
    "resourceIsEncryptedWithCustomerEncryptionKey": (PermissionDenied, CUSTOMER_KEY),
    "retentionPolicyNotMet": (PermissionDenied, HOLD),
    "objectUnderActiveHold": (PermissionDenied, HOLD),
    "rateLimitExceeded": (Throttled, ""),
    "userRateLimitExceeded": (Throttled, ""),
    "dailyLimitExceeded": (QuotaExceeded, ""),
    "quotaExceeded": (QuotaExceeded, ""),
    "conditionNotMet": (PreconditionFailed, ""),
    "invalidStorageClass": (Unsupported, "map the source's storage class to one that Cloud Storage has"),
    "uploadBrokenConnection": (StoreUnavailable, ""),
    "backendError": (StoreUnavailable, ""),
    "internalError": (StoreUnavailable, ""),
}

# For answers without a reason, or with an unknown one.
STATUS: Mapping[int, tuple[type[SkyferryError], str]] = {
    301: (BucketNotFound, ENDPOINT),
    307: (BucketNotFound, ENDPOINT),
    401: (IdentityRefused, RENEW),  # the identity is at fault: work waits
    403: (PermissionDenied, GRANT),
    404: (BucketNotFound, ENDPOINT),  # never an object: another server's 404 must not cause deletes
    405: (Unsupported, ""),
    408: (StoreTimeout, ""),
    412: (PreconditionFailed, ""),
    413: (Unsupported, ""),
    429: (Throttled, ""),
    501: (Unsupported, ""),
}

# Part of a message, in lower case -> the same, for vague reasons ("invalid", "required", "forbidden", "notFound").
WORDS: Mapping[str, tuple[type[SkyferryError], str]] = {
    "no such object": (ObjectNotFound, ""),
    "bucket does not exist": (BucketNotFound, CREATE),
    "match calculated": (ChecksumMismatch, ""),  # "Provided CRC32C ... doesn't match calculated CRC32C ..."
    "anonymous caller": (IdentityRefused, ANONYMOUS),
    "login required": (IdentityRefused, ANONYMOUS),
    "no user project": (PermissionDenied, PAYS),
    "serviceusage": (PermissionDenied, PAYER),
    "kms": (PermissionDenied, KMS),
    "billing": (PermissionDenied, BILLING),
    "storage class": (Unsupported, "map the source's storage class to one that Cloud Storage has"),
    "metadata": (Unsupported, "shorten the user metadata to 8 KiB, of which Skyferry needs about 400 bytes"),
}
_VAGUE_STATUS = (400, 401, 403, 404)


def parse_error(answer: HttpResponse) -> GcsErrorResponse:
    """Parse an error response."""
    said = answer.body[:1000].decode("utf-8", "replace").strip()
    reason = ""
    try:
        error = orjson.loads(answer.body)["error"]
        said, reason = str(error["message"]), str(error["errors"][0]["reason"])
    except (orjson.JSONDecodeError, LookupError, TypeError):  # plain text, or the page of a proxy
        pass
    return GcsErrorResponse(
        status=answer.status,
        reason=reason,
        message="" if said.startswith("<") else said,
        request_id=answer.headers.get("x-guploader-uploadid", ""),
        retry_after=retry_after(answer.headers.get("retry-after", "")),
    )


def translate_error(error: GcsErrorResponse, where: str) -> SkyferryError:
    """Return the error to raise. `where` names the store and the key."""
    fallback = StoreUnavailable if error.status >= 500 else StoreError
    kind, hint = REASONS.get(error.reason) or STATUS.get(error.status) or (fallback, "")
    if error.status in _VAGUE_STATUS and error.reason not in REASONS:
        message = error.message.lower()
        kind, hint = next((meant for words, meant in WORDS.items() if words in message), (kind, hint))
    if kind is StoreUnavailable and error.status == 503 and error.retry_after is not None:
        kind = Throttled
    return kind(
        describe_error(error.message, error.reason, error.status, error.request_id),
        where=where,
        hint=hint,
        retry_after=error.retry_after,
    )


def is_ambiguous(error: GcsErrorResponse) -> bool:
    """Return True for a 404 that does not name what is missing, the object or its bucket."""
    message = error.message.lower()
    return error.status == 404 and not any(words in message for words in ("no such object", "bucket does not exist"))
