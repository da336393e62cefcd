"""Translation of Cloud Storage error responses. Source: "HTTP status and error codes for JSON", Cloud Storage."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from skyferry.clouds.errors import STATUSES, ErrorResponse, ErrorTable, Meaning, read_delay
from skyferry.clouds.http import HttpResponse
from skyferry.errors import (
    BucketNotFound,
    ChecksumMismatch,
    IdentityRefused,
    ObjectNotFound,
    PermissionDenied,
    PreconditionFailed,
    QuotaExceeded,
    SkyferryError,
    StoreUnavailable,
    Throttled,
    Unsupported,
)

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
REASONS: Mapping[str, Meaning] = {
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

# Part of a message, in lower case -> the same, for vague reasons ("invalid", "required", "forbidden", "notFound").
WORDS: Mapping[str, Meaning] = {
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
_VAGUE_STATUSES = (400, 401, 403, 404)


def _refine(error: ErrorResponse, meaning: Meaning) -> Meaning:
    """Find in the message what a vague reason does not say."""
    if error.status not in _VAGUE_STATUSES or error.code in REASONS:
        return meaning
    message = error.message.lower()
    return next((found for words, found in WORDS.items() if words in message), meaning)


ERRORS = ErrorTable(
    REASONS,
    STATUSES
    | {
        301: (BucketNotFound, ""),
        307: (BucketNotFound, ""),
        401: (IdentityRefused, RENEW),  # the identity is at fault: work waits
        403: (PermissionDenied, GRANT),
        405: (Unsupported, ""),
        413: (Unsupported, ""),
    },
    ENDPOINT,
    _refine,
)


def parse_error(answer: HttpResponse) -> ErrorResponse:
    """Parse an error response. Its code is a reason, such as "rateLimitExceeded". Errors of media requests are plain text."""
    said = answer.body[:1000].decode("utf-8", "replace").strip()
    reason = ""
    try:
        error = orjson.loads(answer.body)["error"]
        said, reason = str(error["message"]), str(error["errors"][0]["reason"])
    except (orjson.JSONDecodeError, LookupError, TypeError):  # plain text, or the page of a proxy
        pass
    return ErrorResponse(
        status=answer.status,
        code=reason,
        message="" if said.startswith("<") else said,
        request_id=answer.headers.get("x-guploader-uploadid", ""),
        retry_after=read_delay(answer),
        tries=answer.tries,
    )


def translate_error(answer: HttpResponse, where: str) -> SkyferryError:
    """Return the error to raise. `where` names the store and the key."""
    return ERRORS.translate(parse_error(answer), where)


def is_ambiguous(answer: HttpResponse) -> bool:
    """Return True for a 404 that does not name what is missing, the object or its bucket."""
    message = parse_error(answer).message.lower()
    return answer.status == 404 and not any(words in message for words in ("no such object", "bucket does not exist"))
