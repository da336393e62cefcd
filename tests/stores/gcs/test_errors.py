"""What Cloud Storage says, and what the worker is told."""

from __future__ import annotations

import orjson
import pytest

from skyferry.clouds.http import HttpResponse
from skyferry.errors import (
    BucketNotFound,
    IdentityRefused,
    ObjectNotFound,
    PermissionDenied,
    PreconditionFailed,
    QuotaExceeded,
    SkyferryError,
    StoreError,
    StoreUnavailable,
    Throttled,
)
from skyferry.stores.gcs.errors import translate_error

CASES = [
    (404, "notFound", "No such object: b/o", ObjectNotFound, ""),
    (404, "notFound", "The specified bucket does not exist.", BucketNotFound, "create the bucket"),
    (401, "authError", "Invalid Credentials", IdentityRefused, "renew"),
    (
        401,
        "required",
        "Anonymous caller does not have storage.objects.get access",
        IdentityRefused,
        "without a credential",
    ),
    (401, "", "", IdentityRefused, "renew"),
    (
        400,
        "required",
        "Bucket is requester pays bucket but no user project provided.",
        PermissionDenied,
        "billing project",
    ),
    (400, "required", "Required parameter: name", StoreError, ""),
    (403, "forbidden", "sa@p does not have serviceusage.services.use access", PermissionDenied, "serviceUsageConsumer"),
    (403, "forbidden", "sa@p does not have storage.objects.get access", PermissionDenied, "storage.objects.list"),
    (403, "retentionPolicyNotMet", "Object is subject to a retention policy", PermissionDenied, "retention policy"),
    (400, "resourceIsEncryptedWithCustomerEncryptionKey", "words", PermissionDenied, "of its writer's"),
    (412, "conditionNotMet", "words", PreconditionFailed, ""),
    (412, "orgPolicyConstraintFailed", "Request violates constraint", PermissionDenied, "organization"),
    (429, "rateLimitExceeded", "The object exceeded the rate limit for mutations", Throttled, ""),
    (403, "quotaExceeded", "words", QuotaExceeded, ""),
    (503, "backendError", "words", StoreUnavailable, ""),
    (418, "", "", StoreError, ""),
]


@pytest.mark.parametrize(("status", "reason", "said", "error", "hint"), CASES)
def test_an_answer_means_an_error_and_says_what_to_do(
    status: int, reason: str, said: str, error: type[SkyferryError], hint: str
) -> None:
    document = {"error": {"code": status, "message": said, "errors": [{"reason": reason, "message": said}]}}
    found = translate_error(HttpResponse(status, {}, orjson.dumps(document)), "gcs key")
    assert type(found) is error
    assert hint in found.hint
    assert str(found).startswith(f"gcs key: {said}")
