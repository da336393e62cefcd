"""What S3 says, and what the worker is told."""

from __future__ import annotations

import pytest

from skyferry.clouds.errors import ErrorResponse
from skyferry.errors import (
    BucketNotFound,
    ChecksumMismatch,
    ConnectionLost,
    Disposition,
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
)
from skyferry.stores.s3.errors import CODES, ERRORS

CASES = [
    (404, "NoSuchKey", ObjectNotFound, ""),
    (404, "NoSuchBucket", BucketNotFound, "create the bucket"),
    (404, "", BucketNotFound, "an S3 service"),
    (301, "", BucketNotFound, "set the store's region to eu-west-3"),
    (301, "PermanentRedirect", BucketNotFound, "set the store's region to eu-west-3"),
    (400, "AuthorizationHeaderMalformed", BucketNotFound, "set the store's region to eu-west-3"),
    (403, "AccessDenied", PermissionDenied, "s3:ListBucket"),
    (403, "InvalidAccessKeyId", IdentityRefused, "this access key does not exist here"),
    (403, "SignatureDoesNotMatch", IdentityRefused, "secret key"),
    (400, "ExpiredToken", IdentityRefused, "renew"),
    (403, "RequestTimeTooSkewed", IdentityRefused, "clock"),
    (401, "Unauthorized", IdentityRefused, ""),
    (403, "", PermissionDenied, ""),
    (400, "KMS.DisabledException", PermissionDenied, "kms:Decrypt"),
    (400, "KMS.ThrottlingException", Throttled, ""),
    (403, "InvalidObjectState", Unsupported, "restore"),
    (403, "ObjectNotInActiveTierError", Unsupported, "restore"),
    (400, "InvalidURI", InvalidKey, ""),
    (400, "InvalidStorageClass", Unsupported, "storage class"),
    (412, "PreconditionFailed", PreconditionFailed, ""),
    (409, "ConditionalRequestConflict", PreconditionFailed, ""),
    (409, "OperationAborted", StoreUnavailable, ""),
    (409, "SomethingNew", StoreError, ""),
    (400, "BadDigest", ChecksumMismatch, ""),
    (400, "RequestTimeout", StoreTimeout, ""),
    (400, "IncompleteBody", ConnectionLost, ""),
    (503, "SlowDown", Throttled, ""),
    (429, "", Throttled, ""),
    (500, "InternalError", StoreUnavailable, ""),
    (502, "", StoreUnavailable, ""),
    (507, "XMinioStorageFull", QuotaExceeded, ""),
    (418, "", StoreError, ""),
]


@pytest.mark.parametrize(("status", "code", "error", "hint"), CASES)
def test_an_answer_means_an_error_and_says_what_to_do(
    status: int, code: str, error: type[SkyferryError], hint: str
) -> None:
    found = ERRORS.translate(ErrorResponse(status, code, "words", region="eu-west-3", request_id="R1"), "s3 key")
    assert type(found) is error
    assert hint in found.hint
    assert str(found).startswith("s3 key: words [")
    assert "request R1" in str(found)


def test_a_503_asks_for_fewer_requests_when_it_says_how_long_to_wait() -> None:
    refused = ERRORS.translate(ErrorResponse(503, "ServiceUnavailable", "", retry_after=7.0), "s3")
    assert isinstance(refused, Throttled)
    assert refused.retry_after == 7.0
    assert isinstance(ERRORS.translate(ErrorResponse(503, "ServiceUnavailable", ""), "s3"), StoreUnavailable)


def test_a_denied_kms_key_is_distinguished_from_a_denied_object() -> None:
    said = "User is not authorized to perform: kms:GenerateDataKey on the resource"
    assert "kms:GenerateDataKey" in ERRORS.translate(ErrorResponse(403, "AccessDenied", said), "s3").hint


def test_an_object_with_a_customer_key_is_distinguished_from_other_refusals() -> None:
    said = "The object was stored using a form of Server Side Encryption. The correct parameters must be provided."
    found = ERRORS.translate(ErrorResponse(400, "InvalidRequest", said), "s3")
    assert (type(found), "of its writer's" in found.hint) == (PermissionDenied, True)
    assert type(ERRORS.translate(ErrorResponse(400, "InvalidRequest", "words"), "s3")) is StoreError


def test_what_throttles_or_is_down_is_an_outage_and_nothing_else_is() -> None:
    outages = {code for code, (error, _) in CODES.items() if error.outage}
    assert outages >= {"SlowDown", "InternalError", "RequestTimeout", "RequestTimeTooSkewed", "InvalidAccessKeyId"}
    assert not outages & {"NoSuchKey", "NoSuchBucket", "AccessDenied", "PreconditionFailed", "BadDigest"}


def test_only_an_absent_object_is_skipped() -> None:
    skipped = {code for code, (error, _) in CODES.items() if error.disposition is Disposition.SKIP}
    assert skipped == {"NoSuchKey", "NoSuchVersion"}
